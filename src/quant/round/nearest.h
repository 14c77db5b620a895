// Round to nearest: the simplest rounding, and a baseline.
#pragma once

#include <span>

#include "base/tensor.h"
#include "base/thread_pool.h"
#include "model/weights/float_layer.h"
#include "quant/round/group_quant.h"

namespace fptq {

// Each group's scale is absmax / (2^(bits - 1) - 1), rounded as it is stored (RoundToStoredScale);
// 1 for a group of zeros. q is the nearest integer, within +-(2^(bits - 1) - 1). With zero points,
// of 4 bits: (max - min) / 15 of the group and 0, the zero point -8 - min / scale to the nearest,
// and q within -8..7. `mean_squares` [K] of the inputs weight the reported error.
GroupQuantized QuantizeNearest(const SourceLinear& linear, std::span<const float> mean_squares,
                               int bits, const GroupFormat& format, ThreadPool& pool);

}  // namespace fptq
