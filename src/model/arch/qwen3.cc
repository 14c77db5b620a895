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
constinit const ArchSpec kQwen3Arch = llama_tensors::Relative({
    .name = "qwen3",
    .hf_class = "Qwen3ForCausalLM",
    .norms = llama_tensors::kHeadNorms,
    .linears = kLinears,
    .config_from_hf = ConfigFromHf,
    .config_from_gguf = ConfigFromGguf,
    .config_to_hf = ConfigToHf,
});

}  // namespace fptq
