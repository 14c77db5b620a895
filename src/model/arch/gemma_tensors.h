// What Gemma's generations have in common: norms before and after attention and MLP that multiply
// by 1 + weight, an embedding multiplied by sqrt(hidden), a gated MLP with GELU, windows in most
// layers.
#pragma once

#include "model/arch/gguf_config.h"
#include "model/arch/llama_tensors.h"

namespace fptq::gemma_tensors {

inline constexpr TensorNames kMlpNorm = {"model.layers.{}.pre_feedforward_layernorm",
                                         "blk.{}.ffn_norm"};
inline constexpr NormSpec kAttnOutNorm = {
    NormRole::kAttnOut,
    {"model.layers.{}.post_attention_layernorm", "blk.{}.post_attention_norm"},
    HiddenChannels};
inline constexpr NormSpec kMlpOutNorm = {
    NormRole::kMlpOut,
    {"model.layers.{}.post_feedforward_layernorm", "blk.{}.post_ffw_norm"},
    HiddenChannels};

inline constexpr auto kLinears =
    llama_tensors::Linears(RowOrder::kAsIs, /*qkv=*/Bias::kNone, /*output=*/Bias::kNone,
                           /*mlp=*/Bias::kNone);

inline constexpr EqualizationGroup kEqualizationGroups[] = {
    {ActSite::kAttnIn, Producer::kNorm, llama_tensors::kAttnNorm},
    {ActSite::kMlpIn, Producer::kNorm, kMlpNorm},
    {ActSite::kAttnOut, Producer::kLinear, llama_tensors::kVProj},
    {ActSite::kMlpMid, Producer::kLinear, llama_tensors::kUpProj},
};

inline constexpr std::string_view kReadFields[] = {
    "query_pre_attn_scalar",     // as the next ones, of config.json
    "attn_logit_softcapping",    // and of GGUF files
    "final_logit_softcapping",   //
    "attention.sliding_window",  // of GGUF files
};

// `arch`, which has the norms and the config, with the rest.
constexpr ArchSpec Relative(ArchSpec arch) {
  arch.norm_offset = 1;
  arch.linears = kLinears;
  arch.equalization_groups = kEqualizationGroups;
  arch.read_fields = kReadFields;
  return llama_tensors::Relative(arch);
}

// The fields of config.json that both generations have. Every layer whose number, from 1, is a
// multiple of `pattern` attends to all positions.
struct Defaults {
  int64_t max_positions;
  int64_t pattern;
  double attention_softcap, logit_softcap;
  double rope_theta;
  int64_t vocab;
};
ModelConfig ConfigFromHf(const JsonFields& fields, const Defaults& defaults);
ModelConfig ConfigFromGguf(const JsonFields& fields, std::string_view arch,
                           const Defaults& defaults, int64_t layers_of_27b);
Json ConfigToHf(const ModelConfig& config);

}  // namespace fptq::gemma_tensors
