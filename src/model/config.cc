#include "model/config.h"

#include <algorithm>

#include "base/error.h"
#include "kernels/kernels.h"

namespace fptq {
namespace {

// Bounds that no real model comes near; they keep every product of two dimensions far from
// overflow. A row of weights may be one group.
constexpr int64_t kMaxWidth = kMaxGroupSize;
constexpr int64_t kMaxVocab = int64_t{1} << 24;

void CheckRange(std::string_view where, std::string_view field, int64_t value, int64_t max) {
  if (value < 1 || value > max) {
    throw Error("{}: {}: expected 1 to {}, found {}", where, field, max, value);
  }
}

}  // namespace

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
  if (config.rotary > 0 && !(config.rope_theta >= 1 && config.rope_theta < 1e15)) {
    throw Error("{}: rope theta: expected a number of at least 1, found {}", where,
                config.rope_theta);
  }
  const RopeScaling& scaling = config.rope_scaling;
  if (!(scaling.factor >= 1 && scaling.factor < 1e6)) {
    throw Error("{}: factor of rope scaling: expected a number of at least 1, found {}", where,
                scaling.factor);
  }
  if (scaling.kind == RopeScaling::Kind::kLlama3 &&
      !(scaling.low_freq_factor > 0 && scaling.high_freq_factor > scaling.low_freq_factor &&
        scaling.original_positions > 0)) {
    throw Error(
        "{}: rope scaling: expected 0 < low_freq_factor < high_freq_factor and original positions, "
        "found {}, {} and {}",
        where, scaling.low_freq_factor, scaling.high_freq_factor, scaling.original_positions);
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
