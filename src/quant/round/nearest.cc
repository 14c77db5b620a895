#include "quant/round/nearest.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "quant/round/storage.h"

namespace fptq {
namespace {

// The integers of a group: w = (q - zero point) * scale, q - zero point in lowest..highest.
struct Range {
  float scale = 1;
  int zero_point = 0;
  float lowest = 0, highest = 0;
};

Range RangeOf(std::span<const float> w, int bits, const GroupFormat& format) {
  float low = 0, high = 0;
  for (const float value : w) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
  const auto largest = static_cast<float>((1 << (bits - 1)) - 1);
  Range range = {.lowest = -largest, .highest = largest};
  const bool is_zero = low == 0 && high == 0;
  if (format.symmetric || bits != 4) {
    const float absmax = std::max(-low, high);
    if (!is_zero) range.scale = RoundToStoredScale(absmax / largest, format.dtype);
    return range;
  }
  // Half of each: the difference of the largest floats is none.
  if (!is_zero) range.scale = RoundToStoredScale((high / 2 - low / 2) / 7.5f, format.dtype);
  range.zero_point =
      static_cast<int>(std::clamp(-8 - std::nearbyint(low / range.scale), -8.0f, 7.0f));
  range.lowest = static_cast<float>(-8 - range.zero_point);
  range.highest = range.lowest + 15;
  return range;
}

}  // namespace

GroupQuantized QuantizeNearest(const SourceLinear& linear, std::span<const float> mean_squares,
                               int bits, const GroupFormat& format, ThreadPool& pool) {
  const int64_t k = linear.k, group_size = format.size, groups = k / group_size;
  FPTQ_CHECK(k % group_size == 0 && std::ssize(mean_squares) == k);
  GroupQuantized result;
  result.bits = bits;
  result.group_size = group_size;
  result.q.resize(static_cast<size_t>(linear.weight.size()));
  result.scales.resize(static_cast<size_t>(linear.channels * groups));
  if (!format.symmetric && bits == 4) result.zero_points.resize(result.scales.size());
  std::vector<double> errors(static_cast<size_t>(linear.channels)), norms(errors);
  pool.ParallelFor(linear.channels, [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) {
      for (int64_t g = 0; g < groups; ++g) {
        const int64_t first = n * k + g * group_size;
        const float* w = linear.weight.data() + first;
        const Range range = RangeOf({w, static_cast<size_t>(group_size)}, bits, format);
        const float scale = range.scale;
        const auto index = static_cast<size_t>(n * groups + g);
        result.scales[index] = scale;
        if (!result.zero_points.empty()) {
          result.zero_points[index] = static_cast<int8_t>(range.zero_point);
        }
        for (int64_t i = 0; i < group_size; ++i) {
          const float q = std::clamp(std::nearbyint(w[i] / scale), range.lowest, range.highest);
          result.q[static_cast<size_t>(first + i)] =
              static_cast<int8_t>(static_cast<int>(q) + range.zero_point);
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
