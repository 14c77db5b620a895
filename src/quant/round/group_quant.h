// Weights to 4 bits in groups along the input dimension.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "base/tensor.h"
#include "base/thread_pool.h"
#include "model/weights/float_layer.h"

namespace fptq {

// How the groups of a linear's weights are stored.
struct GroupFormat {
  int64_t size = 0;                 // inputs that share a scale; divides K
  DataType dtype = DataType::kF32;  // of the scales
  bool symmetric = true;            // 4 bits: without zero points
};

// w = (q - zero point) * scale: q and zero points in -8..7, or q in -128..127 without zero points;
// scales of either sign (with a negative one a symmetric group reaches further up than down), as
// they read back after being stored.
struct GroupQuantized {
  int bits = 4;
  int64_t group_size = 0;
  std::vector<int8_t> q;            // [N, K]
  std::vector<float> scales;        // [N, K / group_size]
  std::vector<int8_t> zero_points;  // [N, K / group_size]; empty: symmetric
  // sqrt(sum d (w - s q)^2 / sum d w^2)
  double relative_error = 0;

  int ZeroPoint(int64_t group) const {
    return zero_points.empty() ? 0 : zero_points[static_cast<size_t>(group)];
  }
};

// x to the nearest integer, half to even, of `lowest` .. `lowest` + 15, itself one of -16 .. 0. By
// adding a number so large that its last digit is 1. Clamping first gives the same and bounds what
// is rounded.
inline float RoundToInt4(float x, float lowest) {
  constexpr float kMagic = 0x1.8p23f;
  x = std::min(std::max(x, lowest), lowest + 15);
  return (x + kMagic) - kMagic;
}

// The largest of 128, 64 and 32 that is at most `requested` and divides `k`; 0 if none does:
// linears with such an input stay float.
int64_t GroupSizeFor(int64_t k, int64_t requested);

// Minimizes sum_j d_j (w_j - s (q_j - z))^2 for each group, with d_j = mean square of input channel
// j: the error of the output where channels are uncorrelated. Scales are rounded to the format's
// type before the final q are chosen. The result does not depend on the number of threads.
GroupQuantized QuantizeGroups(const SourceLinear& linear, std::span<const float> mean_squares,
                              const GroupFormat& format, ThreadPool& pool);

}  // namespace fptq
