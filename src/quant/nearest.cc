#include "quant/nearest.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "quant/storage.h"

namespace fptq {

GroupQuantized QuantizeNearest(const SourceLinear& linear, std::span<const float> mean_squares,
                               int bits, int64_t group_size, DataType dtype, ThreadPool& pool) {
  const int64_t k = linear.k, groups = k / group_size;
  FPTQ_CHECK(k % group_size == 0 && std::ssize(mean_squares) == k);
  const auto largest = static_cast<float>((1 << (bits - 1)) - 1);
  GroupQuantized result;
  result.bits = bits;
  result.group_size = group_size;
  result.q.resize(static_cast<size_t>(linear.weight.size()));
  result.scales.resize(static_cast<size_t>(linear.channels * groups));
  std::vector<double> errors(static_cast<size_t>(linear.channels)), norms(errors);
  pool.ParallelFor(linear.channels, [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) {
      for (int64_t g = 0; g < groups; ++g) {
        const int64_t first = n * k + g * group_size;
        const float* w = linear.weight.data() + first;
        float absmax = 0;
        for (int64_t i = 0; i < group_size; ++i) absmax = std::max(absmax, std::abs(w[i]));
        const float scale = absmax > 0 ? RoundToStoredScale(absmax / largest, dtype) : 1;
        result.scales[static_cast<size_t>(n * groups + g)] = scale;
        for (int64_t i = 0; i < group_size; ++i) {
          const float q = std::clamp(std::nearbyint(w[i] / scale), -largest, largest);
          result.q[static_cast<size_t>(first + i)] = static_cast<int8_t>(q);
          const double d = mean_squares[static_cast<size_t>(g * group_size + i)];
          const double difference = double{w[i]} - double{scale} * double{q};
          errors[static_cast<size_t>(n)] += d * difference * difference;
          norms[static_cast<size_t>(n)] += d * double{w[i]} * double{w[i]};
        }
      }
    }
  });
  double error = 0, norm = 0;
  for (size_t n = 0; n < errors.size(); ++n) {
    error += errors[n];
    norm += norms[n];
  }
  result.relative_error = norm > 0 ? std::sqrt(error / norm) : 0;
  return result;
}

}  // namespace fptq
