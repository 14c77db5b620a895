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

// YaRN, eq. 23: dims that turn more than beta_fast times within the original positions stay as they
// are, those that turn less than beta_slow times are interpolated, those between are mixed.
double YarnFrequency(double frequency, double dim, const Rope& rope, int64_t rotary) {
  const RopeScaling& scaling = rope.scaling;
  const auto original = static_cast<double>(scaling.original_positions);
  const auto dims = static_cast<double>(rotary);
  const auto dim_of = [&](double turns) {
    return dims * Log(original / (turns * 2 * std::numbers::pi)) / (2 * Log(rope.theta));
  };
  double low = dim_of(scaling.beta_fast), high = dim_of(scaling.beta_slow);
  if (scaling.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, dims - 1);
  if (low == high) high += 0.001;
  const double interpolated = std::clamp((dim - low) / (high - low), 0.0, 1.0);
  return frequency / scaling.factor * interpolated + frequency * (1 - interpolated);
}

// Of the i-th pair of dims.
double Scaled(double frequency, size_t i, const Rope& rope, int64_t rotary) {
  switch (rope.scaling.kind) {
    case RopeScaling::Kind::kNone:
      return frequency;
    case RopeScaling::Kind::kLinear:
      return frequency / rope.scaling.factor;
    case RopeScaling::Kind::kLlama3:
      return Llama3Frequency(frequency, rope.scaling);
    case RopeScaling::Kind::kYarn:
      return YarnFrequency(frequency, static_cast<double>(i), rope, rotary);
    case RopeScaling::Kind::kFactors:
      return frequency / rope.scaling.factors[i];
  }
  return frequency;
}

}  // namespace

std::vector<float> RopeFrequencies(const Rope& rope, int64_t rotary) {
  std::vector<float> frequencies(static_cast<size_t>(rotary / 2));
  for (size_t i = 0; i < frequencies.size(); ++i) {
    const double exponent = 2.0 * static_cast<double>(i) / static_cast<double>(rotary);
    frequencies[i] = static_cast<float>(Scaled(1.0 / Pow(rope.theta, exponent), i, rope, rotary));
  }
  return frequencies;
}

double YarnAttentionFactor(double factor, double scale) {
  return factor <= 1 ? 1 : 0.1 * scale * Log(factor) + 1;
}

double LongRopeAttentionFactor(double factor, int64_t original_positions) {
  if (factor <= 1) return 1;
  return std::sqrt(1 + Log(factor) / Log(static_cast<double>(original_positions)));
}

RopeScaling Llama3FromFactors(std::span<const float> factors, const ModelConfig& config,
                              std::string_view where) {
  const float largest = std::ranges::max(factors);
  if (std::ranges::all_of(factors, [](float factor) { return factor == 1; })) return {};
  // What all models of the family have.
  const Rope plain = {.theta = config.rope.theta, .scaling = {}};
  const Rope scaled = {.theta = config.rope.theta,
                       .scaling = {.kind = RopeScaling::Kind::kLlama3,
                                   .factor = largest,
                                   .low_freq_factor = 1,
                                   .high_freq_factor = 4,
                                   .original_positions = 8192}};
  const std::vector<float> from = RopeFrequencies(plain, config.rotary);
  const std::vector<float> to = RopeFrequencies(scaled, config.rotary);
  FPTQ_CHECK(factors.size() == from.size());
  for (size_t i = 0; i < factors.size(); ++i) {
    if (!(std::abs(factors[i] * to[i] / from[i] - 1) < 1e-4f)) {
      throw Error("{}: expected LLaMA-3's factors of rotary frequencies, found {} at {}", where,
                  factors[i], i);
    }
  }
  return scaled.scaling;
}

std::vector<float> AlibiSlopes(int64_t heads, double scale) {
  const auto power = static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(heads)));
  const auto slope = [scale](int64_t i, int64_t of) {  // the i-th of so many, from 1
    return static_cast<float>(scale *
                              Exp2(-8.0 * static_cast<double>(i) / static_cast<double>(of)));
  };
  std::vector<float> slopes;
  for (int64_t i = 1; i <= power; ++i) slopes.push_back(slope(i, power));
  for (int64_t i = 1; std::ssize(slopes) < heads; i += 2) slopes.push_back(slope(i, 2 * power));
  return slopes;
}

}  // namespace fptq
