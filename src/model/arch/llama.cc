// LLaMA and what shares its shape: RMSNorm, rotary embeddings, grouped-query attention, gated SiLU
// MLP.
#include "base/error.h"
#include "model/arch/llama_tensors.h"

namespace fptq {
namespace {

ModelConfig ConfigFromGguf(const JsonFields& fields) {
  ModelConfig config = LlamaConfigFromGguf(fields, "llama");
  if (config.rotary != config.head_dim) {  // LlamaForCausalLM rotates whole heads
    throw Error("{}: llama.rope.dimension_count: expected the head dimension {}, found {}",
                fields.where(), config.head_dim, config.rotary);
  }
  return config;
}

Json ConfigToHf(const ModelConfig& config) {
  Json json = LlamaConfigToHf(config);
  json["attention_bias"] = false;
  json["mlp_bias"] = false;
  return json;
}

}  // namespace

extern const ArchSpec kLlamaArch;
const ArchSpec kLlamaArch = {
    .name = "llama",
    .gguf_name = "llama",
    .hf_class = "LlamaForCausalLM",
    .embedding = llama_tensors::kEmbedding,
    .positions = {},
    .embedding_norm = {},
    .final_norm = llama_tensors::kFinalNorm,
    .head = llama_tensors::kHead,
    .attn_norm = llama_tensors::kAttnNorm,
    .mlp_norm = llama_tensors::kMlpNorm,
    .q_norm = {},
    .k_norm = {},
    .linears = llama_tensors::kPairedLinears,
    .equalization_groups = llama_tensors::kEqualizationGroups,
    .config_from_hf = LlamaConfigFromHf,
    .config_from_gguf = ConfigFromGguf,
    .config_to_hf = ConfigToHf,
};

}  // namespace fptq
