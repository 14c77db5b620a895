#include "model/positions.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <numbers>

#include "base/error.h"
#include "base/math.h"

namespace fptq {
namespace {

// LLaMA-3.1: long waves by 1 / factor, short ones not at all, those between by something between.
double Llama3Frequency(double frequency, const RopeScaling& scaling) {
  const double wave = 2 * std::numbers::pi / frequency;
  const auto original = static_cast<double>(scaling.original_positions);
  if (wave < original / scaling.high_freq_factor) return frequency;
  if (wave > original / scaling.low_freq_factor) return frequency / scaling.factor;
  const double smooth = (original / wave - scaling.low_freq_factor) /
                        (scaling.high_freq_factor - scaling.low_freq_factor);
  return (1 - smooth) * frequency / scaling.factor + smooth * frequency;
}

double Scaled(double frequency, const RopeScaling& scaling) {
  switch (scaling.kind) {
    case RopeScaling::Kind::kNone:
      return frequency;
    case RopeScaling::Kind::kLinear:
      return frequency / scaling.factor;
    case RopeScaling::Kind::kLlama3:
      return Llama3Frequency(frequency, scaling);
  }
  return frequency;
}

}  // namespace

std::vector<float> RopeFrequencies(const ModelConfig& config) {
  std::vector<float> frequencies(static_cast<size_t>(config.rotary / 2));
  for (size_t i = 0; i < frequencies.size(); ++i) {
    const double exponent = 2.0 * static_cast<double>(i) / static_cast<double>(config.rotary);
    frequencies[i] =
        static_cast<float>(Scaled(1.0 / Pow(config.rope_theta, exponent), config.rope_scaling));
  }
  return frequencies;
}

RopeScaling ScalingFromFactors(std::span<const float> factors, const ModelConfig& config,
                               std::string_view where) {
  if (std::ssize(factors) != config.rotary / 2) {
    throw Error("{}: expected {} factors of rotary frequencies, found {}", where, config.rotary / 2,
                factors.size());
  }
  const float largest = std::ranges::max(factors);
  if (std::ranges::all_of(factors, [](float factor) { return factor == 1; })) return {};
  ModelConfig plain = config, scaled = config;
  plain.rope_scaling = {};
  // What all models of the family have.
  scaled.rope_scaling = {.kind = RopeScaling::Kind::kLlama3,
                         .factor = largest,
                         .low_freq_factor = 1,
                         .high_freq_factor = 4,
                         .original_positions = 8192};
  const std::vector<float> from = RopeFrequencies(plain), to = RopeFrequencies(scaled);
  for (size_t i = 0; i < factors.size(); ++i) {
    if (!(std::abs(factors[i] * to[i] / from[i] - 1) < 1e-4f)) {
      throw Error("{}: expected LLaMA-3's factors of rotary frequencies, found {} at {}", where,
                  factors[i], i);
    }
  }
  return scaled.rope_scaling;
}

std::vector<float> AlibiSlopes(int64_t heads) {
  const auto power = static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(heads)));
  const auto slope = [](int64_t i, int64_t of) {  // the i-th of so many, from 1
    return static_cast<float>(Exp2(-8.0 * static_cast<double>(i) / static_cast<double>(of)));
  };
  std::vector<float> slopes;
  for (int64_t i = 1; i <= power; ++i) slopes.push_back(slope(i, power));
  for (int64_t i = 1; std::ssize(slopes) < heads; i += 2) slopes.push_back(slope(i, 2 * power));
  return slopes;
}

}  // namespace fptq
