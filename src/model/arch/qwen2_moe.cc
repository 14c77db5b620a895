// Qwen1.5-MoE and Qwen2-MoE: Qwen2 with a mixture of experts, and one expert that all tokens share.
#include "model/arch/mixture_tensors.h"

namespace fptq {
namespace {

constexpr auto kLinears = llama_tensors::Join(
    llama_tensors::Linears(RowOrder::kAsIs, /*qkv=*/Bias::kAttention, /*output=*/Bias::kNone,
                           /*mlp=*/Bias::kNone),
    mixture_tensors::ExpertLinears(mixture_tensors::kExpert),
    llama_tensors::MlpLinears(mixture_tensors::kShared, MlpKind::kShared,
                              mixture_tensors::SharedChannels, Bias::kNone));

ModelConfig ConfigFromHf(const JsonFields& fields) {
  ModelConfig config =
      mixture_tensors::QwenConfigFromHf(fields, {.kv_heads = 16, .max_positions = 32768},
                                        {.experts = 60, .active = 4, .width = 1408, .layers = {}});
  config.attention_bias = fields.BoolOr("qkv_bias", true);
  config.mixture.shared_width = fields.IntOr("shared_expert_intermediate_size", 5632, 1, kMaxInt);
  return config;
}

Json ConfigToHf(const ModelConfig& config) {
  Json json = mixture_tensors::QwenMixtureToHf(config);
  json["shared_expert_intermediate_size"] = config.mixture.shared_width;
  json["qkv_bias"] = config.attention_bias;
  return json;
}

ModelConfig ConfigFromGguf(const JsonFields& fields) {
  ModelConfig config = LlamaConfigFromGguf(fields, "qwen2moe");
  config.mixture = mixture_tensors::MixtureFromGguf(fields, "qwen2moe");
  config.mixture.shared_width =
      fields.Int(GgufKey("qwen2moe", "expert_shared_feed_forward_length"), 1, kMaxInt);
  return config;
}

}  // namespace

extern const ArchSpec kQwen2MoeArch;
constinit const ArchSpec kQwen2MoeArch = mixture_tensors::Relative({
    .name = "qwen2_moe",
    .gguf_name = "qwen2moe",
    .hf_class = "Qwen2MoeForCausalLM",
    .linears = kLinears,
    .shared_gate = mixture_tensors::kSharedGate,
    .config_from_hf = ConfigFromHf,
    .config_from_gguf = ConfigFromGguf,
    .config_to_hf = ConfigToHf,
});

}  // namespace fptq
