#include "model/key_offsets.h"

#include <algorithm>

#include "base/math.h"
#include "kernels/dispatch.h"
#include "model/positions.h"

namespace fptq {
namespace {

// The mean of exp(i p frequency) over the positions p of a section.
struct MeanRotation {
  double cos, sin;
};
MeanRotation RotationOf(int64_t section, double frequency) {
  // A sum of n turns by f: sin(n f / 2) / sin(f / 2), at their middle.
  constexpr auto n = static_cast<double>(kKvSection);
  const double half = SinCosOf(frequency / 2).sin;
  const double length = half == 0 ? 1 : SinCosOf(n * frequency / 2).sin / (n * half);
  const double middle = (static_cast<double>(section * kKvSection) + (n - 1) / 2) * frequency;
  const SinCos rotation = SinCosOf(middle);
  return {length * rotation.cos, length * rotation.sin};
}

}  // namespace

AlignedBuffer<float> MakeKeyOffsets(const ModelConfig& config, int64_t layer,
                                    std::span<const float> key_bias) {
  constexpr int64_t kMaxSections = 1024;
  const int64_t sections =
      std::min((config.max_positions + kKvSection - 1) / kKvSection, kMaxSections);
  const Rope* rope = config.rope_of(layer);
  const std::vector<float> frequencies =
      rope == nullptr ? std::vector<float>() : RopeFrequencies(*rope, config.rotary);
  const auto half = std::ssize(frequencies);
  AlignedBuffer<float> offsets(CheckedMultiply(sections, config.kv_width(), "offsets of the keys"));
  for (int64_t section = 0; section < sections; ++section) {
    float* out = offsets.data() + section * config.kv_width();
    std::ranges::copy(key_bias, out);
    for (int64_t i = 0; i < half; ++i) {
      MeanRotation mean = RotationOf(section, frequencies[static_cast<size_t>(i)]);
      mean.cos *= rope->scaling.attention_factor;
      mean.sin *= rope->scaling.attention_factor;
      for (int64_t head = 0; head < config.kv_heads; ++head) {
        float& low = out[head * config.head_dim + i];
        float& high = out[head * config.head_dim + i + half];
        const double a = low, b = high;
        low = static_cast<float>(a * mean.cos - b * mean.sin);
        high = static_cast<float>(b * mean.cos + a * mean.sin);
      }
    }
    Kernels().rotate({.x = out, .rows = config.kv_heads, .n = config.head_dim});
  }
  return offsets;
}

KeyOffsets KeyOffsetsOf(const ModelConfig& config, const AlignedBuffer<float>& offsets,
                        int64_t kv_head) {
  if (offsets.size() == 0) return {};
  return {.data = offsets.data() + kv_head * config.head_dim,
          .sections = offsets.size() / config.kv_width(),
          .stride = config.kv_width()};
}

}  // namespace fptq
