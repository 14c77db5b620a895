// How positions enter attention.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/config.h"

namespace fptq {

// Radians a position for each pair of rotary dims, scaled as the config says; [rotary / 2].
std::vector<float> RopeFrequencies(const ModelConfig& config);

// The scaling whose frequencies are the plain ones divided by `factors`, [rotary / 2]: that is how
// GGUF files keep LLaMA-3's. Error naming `where` if they are not LLaMA-3's.
RopeScaling ScalingFromFactors(std::span<const float> factors, const ModelConfig& config,
                               std::string_view where);

// ALiBi's slopes (arXiv 2108.12409): a geometric sequence for a power of two of heads, for others
// that of the power of two below and every other of the one above.
std::vector<float> AlibiSlopes(int64_t heads);

}  // namespace fptq
