// OLMo 2: LLaMA whose norms stand behind attention and MLP instead of before, and over all heads of
// q and of k.
#include "model/arch/gguf_config.h"
#include "model/arch/llama_tensors.h"

namespace fptq {
namespace {

constexpr auto kLinears = llama_tensors::Linears(RowOrder::kAsIs, /*qkv=*/Bias::kAttention,
                                                 /*output=*/Bias::kAttention, /*mlp=*/Bias::kNone);

constexpr NormSpec kNorms[] = {
    {NormRole::kQ, llama_tensors::kQNorm, QueryChannels},
    {NormRole::kK, llama_tensors::kKNorm, KvChannels},
    {NormRole::kAttnOut,
     {"model.layers.{}.post_attention_layernorm", "blk.{}.post_attention_norm"},
     HiddenChannels},
    {NormRole::kMlpOut,
     {"model.layers.{}.post_feedforward_layernorm", "blk.{}.post_ffw_norm"},
     HiddenChannels},
};

constexpr EqualizationGroup kEqualizationGroups[] = {
    {ActSite::kAttnOut, Producer::kLinear, llama_tensors::kVProj},
    {ActSite::kMlpMid, Producer::kLinear, llama_tensors::kUpProj},
};

ModelConfig ConfigFromHf(const JsonFields& fields) {
  RequireFullAttention(fields);
  ModelConfig config = LlamaConfigFromHf(fields, {});
  config.norm_epsilon = fields.DoubleOr("rms_norm_eps", 1e-5);
  config.attention_bias = fields.BoolOr("attention_bias", false);
  return config;
}

ModelConfig ConfigFromGguf(const JsonFields& fields) {
  return LlamaConfigFromGguf(fields, "olmo2");
}

Json ConfigToHf(const ModelConfig& config) {
  Json json = LlamaConfigToHf(config);
  json.erase("head_dim");  // hidden / heads
  json["attention_bias"] = config.attention_bias;
  return json;
}

}  // namespace

extern const ArchSpec kOlmo2Arch;
constinit const ArchSpec kOlmo2Arch = llama_tensors::Relative({
    .name = "olmo2",
    .hf_class = "Olmo2ForCausalLM",
    .norms = kNorms,
    .linears = kLinears,
    .equalization_groups = kEqualizationGroups,
    .config_from_hf = ConfigFromHf,
    .config_from_gguf = ConfigFromGguf,
    .config_to_hf = ConfigToHf,
});

}  // namespace fptq
