// What the configs of several architectures have in common.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/json.h"
#include "model/arch/arch.h"

namespace fptq {

inline constexpr int64_t kMaxInt = int64_t{1} << 40;  // real bounds: Validate()

// LinearSpec::channels
int64_t QueryChannels(const ModelConfig& config);
int64_t KvChannels(const ModelConfig& config);
int64_t QkvChannels(const ModelConfig& config);  // of one linear for all three
int64_t HiddenChannels(const ModelConfig& config);
int64_t MlpChannels(const ModelConfig& config);

// The activation that Hugging Face calls `field`.
Activation ReadActivation(const JsonFields& fields, std::string_view field,
                          std::string_view otherwise);

// hidden / heads; Error naming `field` (of `hidden`) if it does not divide.
int64_t DefaultHeadDim(const JsonFields& fields, std::string_view field, const ModelConfig& config);

// rope_theta, rope_scaling and rope_parameters, where transformers 5 keeps both: the rotary fields
// of `config`, whose head_dim must be set. `theta` and `share`, of a head's dims that rotate, hold
// where these say nothing.
void ReadRope(const JsonFields& fields, double theta, double share, ModelConfig& config);
Json RopeScalingToHf(const RopeScaling& scaling);

// `sliding_window` for the layers that `layer_types` names, without it for those from `first` on.
void ReadWindows(const JsonFields& fields, int64_t first, ModelConfig& config);

// Error if the field is there and is not `expected`.
void RequireBool(const JsonFields& fields, std::string_view field, bool expected);

// LLaMA's fields of config.json, which many share, and what llama.cpp makes of them, "llama." being
// `arch` + ".".
ModelConfig LlamaConfigFromHf(const JsonFields& fields);
ModelConfig LlamaConfigFromGguf(const JsonFields& fields, std::string_view arch);
// LlamaConfigFromHf, with the sliding window of Qwen2 and Qwen3.
ModelConfig QwenConfigFromHf(const JsonFields& fields);
Json LlamaConfigToHf(const ModelConfig& config);

}  // namespace fptq
