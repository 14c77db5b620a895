// Qwen3: LLaMA with an RMSNorm of each head of q and k.
#include "model/arch/gguf_config.h"
#include "model/arch/llama_tensors.h"

namespace fptq {
namespace {

constexpr auto kLinears = llama_tensors::Linears(RowOrder::kAsIs, /*qkv=*/Bias::kAttention,
                                                 /*output=*/Bias::kAttention, /*mlp=*/Bias::kNone);

ModelConfig ConfigFromHf(const JsonFields& fields) {
  ModelConfig config =
      QwenConfigFromHf(fields, {.kv_heads = 32, .head_dim = 128, .max_positions = 32768});
  config.attention_bias = fields.BoolOr("attention_bias", false);
  return config;
}

Json ConfigToHf(const ModelConfig& config) {
  Json json = LlamaConfigToHf(config);
  json["attention_bias"] = config.attention_bias;
  return json;
}

ModelConfig ConfigFromGguf(const JsonFields& fields) {
  return LlamaConfigFromGguf(fields, "qwen3");
}

}  // namespace

extern const ArchSpec kQwen3Arch;
constinit const ArchSpec kQwen3Arch = [] {
  ArchSpec arch = llama_tensors::Relative("qwen3", "Qwen3ForCausalLM");
  arch.norms = llama_tensors::kHeadNorms;
  arch.linears = kLinears;
  arch.config_from_hf = ConfigFromHf;
  arch.config_from_gguf = ConfigFromGguf;
  arch.config_to_hf = ConfigToHf;
  return arch;
}();

}  // namespace fptq
