// Chooses between roundings of a linear by inputs that none of them was fitted to.
#pragma once

#include <span>

#include "base/thread_pool.h"
#include "model/source.h"
#include "quant/group_quant.h"
#include "quant/observer.h"

namespace fptq {

// The weights that output channels [first, first + channels) of a rounded linear stand for.
SourceLinear RoundedChannels(const GroupQuantized& rounded, int64_t k, int64_t first,
                             int64_t channels, ThreadPool& pool);

// The one of `roundings` of `linear` with the least output error over the sampled rows, activations
// in int8 a token as SiteErrorMeter has them; of equal ones the first. `inputs` has samples.
size_t LeastErrorOf(const SourceLinear& linear, std::span<const GroupQuantized> roundings,
                    const SiteStatistics& inputs, ThreadPool& pool);

// Output channels that are measured together.
inline constexpr int64_t kMeasuredChannels = 2048;

}  // namespace fptq
