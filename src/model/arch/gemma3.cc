// Gemma 3's text model: a norm of each head of q and k, a rotary base of its own where there is a
// window, which five layers of six have.
#include "model/arch/gemma_tensors.h"

namespace fptq {
namespace {

constexpr double kWindowTheta = 10000;
constexpr gemma_tensors::Defaults kDefaults = {.max_positions = 131072,
                                               .pattern = 6,
                                               .attention_softcap = 0,
                                               .logit_softcap = 0,
                                               .rope_theta = 1e6,
                                               .vocab = 262208};

constexpr NormSpec kNorms[] = {
    {NormRole::kAttn, llama_tensors::kAttnNorm, HiddenChannels},
    {NormRole::kQ, llama_tensors::kQNorm, HeadDim},
    {NormRole::kK, llama_tensors::kKNorm, HeadDim},
    gemma_tensors::kAttnOutNorm,
    {NormRole::kMlp, gemma_tensors::kMlpNorm, HiddenChannels},
    gemma_tensors::kMlpOutNorm,
};

ModelConfig ConfigFromHf(const JsonFields& fields) {
  RequireBool(fields, "use_bidirectional_attention", false);
  ModelConfig config = gemma_tensors::ConfigFromHf(fields, kDefaults);
  if (!config.window_rope) {
    config.window_rope = {.theta = fields.DoubleOr("rope_local_base_freq", kWindowTheta),
                          .scaling = {}};
  }
  return config;
}

ModelConfig ConfigFromGguf(const JsonFields& fields) {
  ModelConfig config =
      gemma_tensors::ConfigFromGguf(fields, "gemma3", kDefaults, /*layers_of_27b=*/62);
  config.window_rope = {
      .theta = fields.DoubleOr(GgufKey("gemma3", "rope.freq_base_swa"), kWindowTheta),
      .scaling = {}};
  return config;
}

Json ConfigToHf(const ModelConfig& config) {
  Json json = gemma_tensors::ConfigToHf(config);
  json["rope_local_base_freq"] = config.window_rope->theta;
  return json;
}

}  // namespace

extern const ArchSpec kGemma3Arch;
constinit const ArchSpec kGemma3Arch = gemma_tensors::Relative({
    .name = "gemma3_text",
    .gguf_name = "gemma3",
    .hf_class = "Gemma3ForCausalLM",
    .norms = kNorms,
    .config_from_hf = ConfigFromHf,
    .config_from_gguf = ConfigFromGguf,
    .config_to_hf = ConfigToHf,
});

}  // namespace fptq
