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
constinit const ArchSpec kLlamaArch = [] {
  ArchSpec arch = llama_tensors::Relative("llama", "LlamaForCausalLM");
  arch.linears = llama_tensors::kPairedLinears;
  arch.config_from_gguf = ConfigFromGguf;
  arch.config_to_hf = ConfigToHf;
  return arch;
}();

}  // namespace fptq
