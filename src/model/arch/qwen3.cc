// Qwen3: LLaMA with an RMSNorm of each head of q and k.
#include "model/arch/llama_tensors.h"

namespace fptq {
namespace {

ModelConfig ConfigFromHf(const JsonFields& fields) {
  ModelConfig config = LlamaConfigFromHf(fields);
  if (fields.BoolOr("use_sliding_window", false)) {
    ReadWindows(fields, fields.IntOr("max_window_layers", 28, 0, kMaxInt), config);
  }
  return config;
}

ModelConfig ConfigFromGguf(const JsonFields& fields) {
  return LlamaConfigFromGguf(fields, "qwen3");
}

}  // namespace

extern const ArchSpec kQwen3Arch;
const ArchSpec kQwen3Arch = {
    .name = "qwen3",
    .gguf_name = "qwen3",
    .hf_class = "Qwen3ForCausalLM",
    .embedding = llama_tensors::kEmbedding,
    .positions = {},
    .embedding_norm = {},
    .final_norm = llama_tensors::kFinalNorm,
    .head = llama_tensors::kHead,
    .attn_norm = llama_tensors::kAttnNorm,
    .mlp_norm = llama_tensors::kMlpNorm,
    .q_norm = llama_tensors::kQNorm,
    .k_norm = llama_tensors::kKNorm,
    .linears = llama_tensors::kLinears,
    .equalization_groups = llama_tensors::kEqualizationGroups,
    .config_from_hf = ConfigFromHf,
    .config_from_gguf = ConfigFromGguf,
    .config_to_hf = LlamaConfigToHf,
};

}  // namespace fptq
