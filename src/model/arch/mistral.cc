// Mistral: LLaMA with a sliding window. GGUF files of it say "llama".
#include "model/arch/llama_tensors.h"

namespace fptq {
namespace {

ModelConfig ConfigFromHf(const JsonFields& fields) {
  ModelConfig config = LlamaConfigFromHf(fields);
  ReadWindows(fields, /*first=*/0, config);
  return config;
}

}  // namespace

extern const ArchSpec kMistralArch;
const ArchSpec kMistralArch = {
    .name = "mistral",
    .gguf_name = "",
    .hf_class = "MistralForCausalLM",
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
    .config_from_gguf = nullptr,
    .config_to_hf = nullptr,
};

}  // namespace fptq
