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
  ReadBiases(fields, config);
  return config;
}

ModelConfig ConfigFromGguf(const JsonFields& fields) {
  return LlamaConfigFromGguf(fields, "llama");
}

Json ConfigToHf(const ModelConfig& config) {
  Json json = LlamaConfigToHf(config);
  WriteBiases(config, json);
  return json;
}

}  // namespace

extern const ArchSpec kLlamaArch;
constinit const ArchSpec kLlamaArch = llama_tensors::Relative({
    .name = "llama",
    .hf_class = "LlamaForCausalLM",
    .linears = kLinears,
    .config_from_hf = ConfigFromHf,
    .config_from_gguf = ConfigFromGguf,
    .config_to_hf = ConfigToHf,
});

}  // namespace fptq
