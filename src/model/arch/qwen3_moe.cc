// Qwen3-MoE: Qwen3 with a mixture of experts.
#include "model/arch/mixture_tensors.h"

namespace fptq {
namespace {

constexpr auto kLinears =
    llama_tensors::Join(llama_tensors::Linears(RowOrder::kAsIs, /*qkv=*/Bias::kAttention,
                                               /*output=*/Bias::kAttention, /*mlp=*/Bias::kNone),
                        mixture_tensors::ExpertLinears(mixture_tensors::kExpert));

ModelConfig ConfigFromHf(const JsonFields& fields) {
  ModelConfig config =
      mixture_tensors::QwenConfigFromHf(fields, {.kv_heads = 4, .max_positions = 32768},
                                        {.experts = 128, .active = 8, .width = 768, .layers = {}});
  config.attention_bias = fields.BoolOr("attention_bias", false);
  return config;
}

Json ConfigToHf(const ModelConfig& config) {
  Json json = mixture_tensors::QwenMixtureToHf(config);
  json["attention_bias"] = config.attention_bias;
  return json;
}

ModelConfig ConfigFromGguf(const JsonFields& fields) {
  ModelConfig config = LlamaConfigFromGguf(fields, "qwen3moe");
  config.mixture = mixture_tensors::MixtureFromGguf(fields, "qwen3moe");
  config.mixture.normalized = true;
  return config;
}

}  // namespace

extern const ArchSpec kQwen3MoeArch;
constinit const ArchSpec kQwen3MoeArch = mixture_tensors::Relative({
    .name = "qwen3_moe",
    .gguf_name = "qwen3moe",
    .hf_class = "Qwen3MoeForCausalLM",
    .norms = llama_tensors::kHeadNorms,
    .linears = kLinears,
    .config_from_hf = ConfigFromHf,
    .config_from_gguf = ConfigFromGguf,
    .config_to_hf = ConfigToHf,
});

}  // namespace fptq
