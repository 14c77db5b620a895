// Weights to symmetric 4 bits in groups along the input dimension.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/tensor.h"
#include "base/thread_pool.h"
#include "model/source.h"

namespace fptq {

// w = q * scale: q in -8..7, scales of either sign (with a negative one a group reaches further up
// than down), as they read back after being stored.
struct GroupQuantized {
  int bits = 4;
  int64_t group_size = 0;
  std::vector<int8_t> q;      // [N, K]
  std::vector<float> scales;  // [N, K / group_size]
  // sqrt(sum d (w - s q)^2 / sum d w^2)
  double relative_error = 0;
};

// The largest of 128, 64 and 32 that is at most `requested` and divides `k`; 0 if none does:
// linears with such an input stay float.
int64_t GroupSizeFor(int64_t k, int64_t requested);

// Minimizes sum_j d_j (w_j - s q_j)^2 for each group, with d_j = mean square of input channel j:
// the error of the output where channels are uncorrelated. Scales are rounded to `dtype` before the
// final q are chosen. The result does not depend on the number of threads.
GroupQuantized QuantizeGroups(const SourceLinear& linear, std::span<const float> mean_squares,
                              int64_t group_size, DataType dtype, ThreadPool& pool);

}  // namespace fptq
