#include "model/config.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "kernels/kernels.h"

namespace fptq {
namespace {

// Bounds that no real model comes near; they keep every product of two dimensions far from
// overflow. A row of weights may be one group.
constexpr int64_t kMaxWidth = kMaxGroupSize;
constexpr int64_t kMaxVocab = int64_t{1} << 24;
constexpr int64_t kMaxExperts = 1024;

void CheckRange(std::string_view where, std::string_view field, int64_t value, int64_t max) {
  if (value < 1 || value > max) {
    throw Error("{}: {}: expected 1 to {}, found {}", where, field, max, value);
  }
}

void CheckScale(std::string_view where, std::string_view field, double value) {
  if (!(value >= 1e-9 && value <= 1e9)) {
    throw Error("{}: {}: expected a number of 1e-9 to 1e9, found {}", where, field, value);
  }
}

void ValidateRope(const Rope& rope, const ModelConfig& config, std::string_view where) {
  if (!(rope.theta >= 1 && rope.theta < 1e15)) {
    throw Error("{}: rope theta: expected a number of at least 1, found {}", where, rope.theta);
  }
  const RopeScaling& scaling = rope.scaling;
  if (!(scaling.factor >= 1 && scaling.factor < 1e6)) {
    throw Error("{}: factor of rope scaling: expected a number of at least 1, found {}", where,
                scaling.factor);
  }
  CheckScale(where, "attention factor of rope scaling", scaling.attention_factor);
  switch (scaling.kind) {
    case RopeScaling::Kind::kNone:
    case RopeScaling::Kind::kLinear:
      return;
    case RopeScaling::Kind::kLlama3:
      if (scaling.low_freq_factor > 0 && scaling.high_freq_factor > scaling.low_freq_factor &&
          scaling.original_positions > 0) {
        return;
      }
      throw Error(
          "{}: rope scaling: expected 0 < low_freq_factor < high_freq_factor and original "
          "positions, found {}, {} and {}",
          where, scaling.low_freq_factor, scaling.high_freq_factor, scaling.original_positions);
    case RopeScaling::Kind::kYarn:
      if (scaling.beta_slow > 0 && scaling.beta_fast > scaling.beta_slow &&
          scaling.original_positions > 0 && rope.theta > 1) {
        return;
      }
      throw Error(
          "{}: rope scaling: expected 0 < beta_slow < beta_fast, original positions and a theta "
          "above 1, found {}, {}, {} and {}",
          where, scaling.beta_slow, scaling.beta_fast, scaling.original_positions, rope.theta);
    case RopeScaling::Kind::kFactors:
      if (std::ssize(scaling.factors) != config.rotary / 2) {
        throw Error("{}: factors of rope scaling: expected {}, found {}", where, config.rotary / 2,
                    scaling.factors.size());
      }
      for (const double factor : scaling.factors) {
        CheckScale(where, "a factor of rope scaling", factor);
      }
      return;
  }
}

void ValidateMixture(const Mixture& mixture, int64_t layers, std::string_view where) {
  CheckRange(where, "number of experts", mixture.experts, kMaxExperts);
  CheckRange(where, "experts of a token", mixture.active, mixture.experts);
  CheckRange(where, "MLP width of an expert", mixture.width, kMaxWidth);
  if (mixture.shared_width != 0) {
    CheckRange(where, "MLP width of the shared expert", mixture.shared_width, kMaxWidth);
  }
  if (!mixture.layers.empty() && std::ssize(mixture.layers) != layers) {
    throw Error("{}: layers with experts: expected one for each of the {} layers, found {}", where,
                layers, mixture.layers.size());
  }
}

}  // namespace

const Rope* ModelConfig::rope_of(int64_t layer) const {
  if (rotary == 0 || (!rotated.empty() && !rotated[static_cast<size_t>(layer)])) return nullptr;
  return window_rope && window(layer) > 0 ? &*window_rope : &rope;
}

float ModelConfig::softmax_scale() const {
  if (attention_scale != 0) return static_cast<float>(attention_scale);
  return 1.0f / std::sqrt(static_cast<float>(head_dim));
}

int64_t ModelConfig::WidestMlp() const {
  const bool has_dense =
      mixture.experts == 0 || std::ranges::find(mixture.layers, false) != mixture.layers.end();
  return std::max({has_dense ? mlp : 0, mixture.width, mixture.shared_width});
}

int64_t ModelConfig::LongestWindow() const {
  if (windows.empty() || std::ranges::find(windows, 0) != windows.end()) return 0;
  return std::ranges::max(windows);
}

void Validate(const ModelConfig& config, std::string_view where) {
  CheckRange(where, "number of layers", config.layers, kMaxLayers);
  CheckRange(where, "hidden size", config.hidden, kMaxWidth);
  CheckRange(where, "number of attention heads", config.heads, kMaxWidth);
  CheckRange(where, "number of key-value heads", config.kv_heads, config.heads);
  CheckRange(where, "head dimension", config.head_dim, kMaxHeadDim);
  CheckRange(where, "MLP width", config.mlp, kMaxWidth);
  if (config.mixture.experts != 0) ValidateMixture(config.mixture, config.layers, where);
  CheckRange(where, "vocabulary size", config.vocab, kMaxVocab);
  CheckRange(where, "maximum position", config.max_positions, int64_t{1} << 31);
  if (config.heads % config.kv_heads != 0) {
    throw Error(
        "{}: number of attention heads: expected a multiple of the {} key-value heads, found {}",
        where, config.kv_heads, config.heads);
  }
  if (config.rotary < 0 || config.rotary > config.head_dim || config.rotary % 2 != 0) {
    throw Error(
        "{}: rotary dimensions: expected an even number of at most the {} of a head, found {}",
        where, config.head_dim, config.rotary);
  }
  if (config.query_width() > kMaxWidth) {
    throw Error("{}: attention heads x head dimension: expected at most {}, found {}", where,
                kMaxWidth, config.query_width());
  }
  if (!(config.norm_epsilon > 0 && config.norm_epsilon < 1)) {
    throw Error("{}: norm epsilon: expected a number between 0 and 1, found {}", where,
                config.norm_epsilon);
  }
  if (config.rotary > 0) ValidateRope(config.rope, config, where);
  if (config.rotary > 0 && config.window_rope) ValidateRope(*config.window_rope, config, where);
  if (!config.rotated.empty() && std::ssize(config.rotated) != config.layers) {
    throw Error("{}: layers that rotate: expected one for each of the {} layers, found {}", where,
                config.layers, config.rotated.size());
  }
  CheckScale(where, "embedding scale", config.embedding_scale);
  CheckScale(where, "residual scale", config.residual_scale);
  CheckScale(where, "logit scale", config.logit_scale);
  CheckScale(where, "attention scale", config.softmax_scale());
  for (const double cap : {config.attention_softcap, config.logit_softcap}) {
    if (cap != 0) CheckScale(where, "softcap", cap);
  }
  if (!config.windows.empty() && std::ssize(config.windows) != config.layers) {
    throw Error("{}: windows of attention: expected one for each of the {} layers, found {}", where,
                config.layers, config.windows.size());
  }
  for (const int64_t window : config.windows) {
    if (window < 0)
      throw Error("{}: window of attention: expected at least 1, found {}", where, window);
  }
}

}  // namespace fptq
