// LLaMA and what shares its shape: RMSNorm, rotary embeddings, grouped-query attention, gated SiLU
// MLP.
#include "model/arch/gguf_config.h"
#include "model/arch/llama_tensors.h"

namespace fptq {
namespace {

constexpr auto kLinears =
    llama_tensors::Linears(RowOrder::kGgufRotaryPairs, /*qkv=*/Bias::kAttention,
                           /*output=*/Bias::kAttention, /*mlp=*/Bias::kMlp);

ModelConfig ConfigFromHf(const JsonFields& fields) {
  RequireFullAttention(fields);
  ModelConfig config = LlamaConfigFromHf(fields, {});
  config.attention_bias = fields.BoolOr("attention_bias", false);
  config.mlp_bias = fields.BoolOr("mlp_bias", false);
  return config;
}

ModelConfig ConfigFromGguf(const JsonFields& fields) {
  return LlamaConfigFromGguf(fields, "llama");
}

Json ConfigToHf(const ModelConfig& config) {
  Json json = LlamaConfigToHf(config);
  json["attention_bias"] = config.attention_bias;
  json["mlp_bias"] = config.mlp_bias;
  return json;
}

}  // namespace

extern const ArchSpec kLlamaArch;
constinit const ArchSpec kLlamaArch = [] {
  ArchSpec arch = llama_tensors::Relative("llama", "LlamaForCausalLM");
  arch.linears = kLinears;
  arch.config_from_hf = ConfigFromHf;
  arch.config_from_gguf = ConfigFromGguf;
  arch.config_to_hf = ConfigToHf;
  return arch;
}();

}  // namespace fptq
