// How positions enter attention.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/config.h"

namespace fptq {

// Radians a position for each pair of the `rotary` dims of a head, scaled as `rope` says; [rotary /
// 2].
std::vector<float> RopeFrequencies(const Rope& rope, int64_t rotary);

// What YaRN (arXiv 2309.00071, section 3.4) multiplies cos and sin by: 0.1 scale ln(factor) + 1.
double YarnAttentionFactor(double factor, double scale = 1);
// The same of longrope: sqrt(1 + ln(factor) / ln(original_positions)).
double LongRopeAttentionFactor(double factor, int64_t original_positions);

// The scaling whose frequencies are the plain ones divided by `factors`, [rotary / 2]: that is how
// GGUF files keep LLaMA-3's. Error naming `where` if they are not LLaMA-3's.
RopeScaling Llama3FromFactors(std::span<const float> factors, const ModelConfig& config,
                              std::string_view where);

// ALiBi's slopes (arXiv 2108.12409): a geometric sequence for a power of two of heads, for others
// that of the power of two below and every other of the one above. All multiplied by `scale`.
std::vector<float> AlibiSlopes(int64_t heads, double scale = 1);

}  // namespace fptq
