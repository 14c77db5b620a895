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
int64_t GateUpChannels(const ModelConfig& config);  // of one linear for both
// EqualizationGroup::first_channel, of such linears
int64_t FirstOfV(const ModelConfig& config);
int64_t FirstOfUp(const ModelConfig& config);
// NormSpec::size
int64_t HeadDim(const ModelConfig& config);

// The activation that Hugging Face calls `field`.
Activation ReadActivation(const JsonFields& fields, std::string_view field,
                          std::string_view otherwise);

// Of two names of one field the one to read: transformers takes the first if it is there.
std::string_view EitherName(const JsonFields& fields, std::string_view name,
                            std::string_view other);

// hidden / heads; Error naming `field` (of `hidden`) if it does not divide.
int64_t DefaultHeadDim(const JsonFields& fields, std::string_view field, const ModelConfig& config);

// What an architecture calls the base of its rotary frequencies and the share of a head's dims that
// rotate, outside of rope_parameters.
struct RopeNames {
  std::string_view theta = "rope_theta";
  std::string_view share = "partial_rotary_factor";
  double default_theta = 10000;
  double default_share = 1;
};
// The rotary fields of `config`, whose head_dim and max_positions must be set, as transformers
// reads them: rope_scaling, if it says anything, else rope_parameters, which may tell layers with a
// window from the others; what that does not say, the fields outside of it say.
void ReadRope(const JsonFields& fields, const RopeNames& names, ModelConfig& config);
// The same where whole heads rotate; Error if a part does.
void ReadRopeOfWholeHeads(const JsonFields& fields, const RopeNames& names, ModelConfig& config);
Json RopeScalingToHf(const RopeScaling& scaling);

// `sliding_window`: 0 if it is null, and `otherwise` if it is absent.
int64_t ReadWindow(const JsonFields& fields, int64_t otherwise);
// A window of 0 is none. The layers that `layer_types` names have it; without that field those from
// `first` on.
void ReadWindows(const JsonFields& fields, int64_t window, int64_t first, ModelConfig& config);
// Error if there is a window, for architectures that have none.
void RequireFullAttention(const JsonFields& fields);

// Error if the field is there and is not `expected`.
void RequireBool(const JsonFields& fields, std::string_view field, bool expected);

// What transformers takes where config.json does not have the field.
struct LlamaDefaults {
  int64_t kv_heads = 0;  // 0: as many as heads
  int64_t head_dim = 0;  // 0: hidden size / heads
  int64_t max_positions = 2048;
  double rope_theta = 10000;
  int64_t heads = 0, vocab = 0;  // 0: they must be there
};
// LLaMA's fields of config.json, which many share, but for the rotary ones.
ModelConfig LlamaDimensionsFromHf(const JsonFields& fields, const LlamaDefaults& defaults);
// All of them; whole heads rotate.
ModelConfig LlamaConfigFromHf(const JsonFields& fields, const LlamaDefaults& defaults);
// LlamaConfigFromHf, with the sliding window of Qwen2 and Qwen3.
ModelConfig QwenConfigFromHf(const JsonFields& fields, const LlamaDefaults& defaults);
Json LlamaConfigToHf(const ModelConfig& config);
// attention_bias and mlp_bias, of those relatives whose config.json has both.
void ReadBiases(const JsonFields& fields, ModelConfig& config);
void WriteBiases(const ModelConfig& config, Json& json);

}  // namespace fptq
