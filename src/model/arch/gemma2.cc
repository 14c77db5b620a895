// Gemma 2: softcaps of attention and logits, a window in every other layer.
#include "model/arch/gemma_tensors.h"

namespace fptq {
namespace {

constexpr gemma_tensors::Defaults kDefaults = {.max_positions = 8192,
                                               .pattern = 2,
                                               .attention_softcap = 50,
                                               .logit_softcap = 30,
                                               .rope_theta = 10000,
                                               .vocab = 256000};

constexpr NormSpec kNorms[] = {
    {NormRole::kAttn, llama_tensors::kAttnNorm, HiddenChannels},
    gemma_tensors::kAttnOutNorm,
    {NormRole::kMlp, gemma_tensors::kMlpNorm, HiddenChannels},
    gemma_tensors::kMlpOutNorm,
};

ModelConfig ConfigFromHf(const JsonFields& fields) {
  return gemma_tensors::ConfigFromHf(fields, kDefaults);
}

ModelConfig ConfigFromGguf(const JsonFields& fields) {
  return gemma_tensors::ConfigFromGguf(fields, "gemma2", kDefaults, /*layers_of_27b=*/46);
}

}  // namespace

extern const ArchSpec kGemma2Arch;
constinit const ArchSpec kGemma2Arch = gemma_tensors::Relative({
    .name = "gemma2",
    .hf_class = "Gemma2ForCausalLM",
    .norms = kNorms,
    .config_from_hf = ConfigFromHf,
    .config_from_gguf = ConfigFromGguf,
    .config_to_hf = gemma_tensors::ConfigToHf,
});

}  // namespace fptq
