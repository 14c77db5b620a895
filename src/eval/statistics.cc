#include "eval/statistics.h"

#include <cmath>
#include <limits>
#include <numeric>

#include "base/error.h"

namespace fptq {

Estimate ClusteredMean(std::span<const double> values, std::span<const int64_t> cluster_sizes) {
  if (values.empty()) throw Error("expected at least one value to average, found none");
  const auto n = static_cast<double>(values.size());
  const double mean = std::accumulate(values.begin(), values.end(), 0.0) / n;
  double squares = 0;
  size_t begin = 0;
  for (const int64_t size : cluster_sizes) {
    double deviation = 0;
    for (const double value : values.subspan(begin, static_cast<size_t>(size))) {
      deviation += value - mean;
    }
    squares += deviation * deviation;
    begin += static_cast<size_t>(size);
  }
  FPTQ_CHECK(begin == values.size());
  const auto clusters = static_cast<double>(cluster_sizes.size());
  const double standard_error = clusters < 2 ? std::numeric_limits<double>::quiet_NaN()
                                             : std::sqrt(clusters / (clusters - 1) * squares) / n;
  return {.mean = mean, .standard_error = standard_error};
}

double Quantile(std::span<const double> sorted, double share) {
  FPTQ_CHECK(!sorted.empty() && share >= 0 && share <= 1);
  const double rank = share * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<size_t>(rank);
  if (below + 1 == sorted.size()) return sorted[below];
  return std::lerp(sorted[below], sorted[below + 1], rank - static_cast<double>(below));
}

}  // namespace fptq
