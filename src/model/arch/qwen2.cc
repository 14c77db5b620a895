// Qwen2 and Qwen2.5: LLaMA with biases of q, k and v.
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
  return LlamaConfigFromGguf(fields, "qwen2");
}

}  // namespace

extern const ArchSpec kQwen2Arch;
const ArchSpec kQwen2Arch = {
    .name = "qwen2",
    .gguf_name = "qwen2",
    .hf_class = "Qwen2ForCausalLM",
    .embedding = llama_tensors::kEmbedding,
    .positions = {},
    .embedding_norm = {},
    .final_norm = llama_tensors::kFinalNorm,
    .head = llama_tensors::kHead,
    .attn_norm = llama_tensors::kAttnNorm,
    .mlp_norm = llama_tensors::kMlpNorm,
    .q_norm = {},
    .k_norm = {},
    .linears = llama_tensors::kLinears,
    .equalization_groups = llama_tensors::kEqualizationGroups,
    .config_from_hf = ConfigFromHf,
    .config_from_gguf = ConfigFromGguf,
    .config_to_hf = LlamaConfigToHf,
};

}  // namespace fptq
