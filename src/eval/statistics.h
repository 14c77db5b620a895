// Means with honest errors.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace fptq {

struct Estimate {
  double mean = 0;
  double standard_error = 0;  // NaN: unknown
};

// The mean of all values. Values of a cluster may depend on each other, as the tokens of a window
// do; clusters must not. `cluster_sizes` has the number of values of each cluster, in order, and
// adds up to values.size(). With C clusters of sum S_c and size n_c, n values in all:
//   standard error^2 = C / (C - 1) * sum_c (S_c - n_c * mean)^2 / n^2,
// which for clusters of one value is the usual one. NaN for fewer than two clusters. Error if there
// are no values.
Estimate ClusteredMean(std::span<const double> values, std::span<const int64_t> cluster_sizes);

// Of values sorted upwards, not empty: linear between the two nearest ranks; `share` in [0, 1].
double Quantile(std::span<const double> sorted, double share);

}  // namespace fptq
