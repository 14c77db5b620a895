#include "quant/custom_rounding.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/error.h"
#include "quant/storage.h"

namespace fptq {
namespace {

void CheckRounded(const SourceLinear& linear, const CustomRounded& rounded, int bits,
                  int64_t group_size) {
  const int64_t scales = linear.channels * (linear.k / group_size);
  if (std::ssize(rounded.q) != linear.channels * linear.k || std::ssize(rounded.scales) != scales) {
    throw Error("{}: custom rounding: expected {} x {} integers and {} scales, found {} and {}",
                linear.name, linear.channels, linear.k, scales, rounded.q.size(),
                rounded.scales.size());
  }
  const int largest = (1 << (bits - 1)) - 1;
  const auto [low, high] = std::ranges::minmax(rounded.q);
  if (low < -largest - 1 || high > largest) {
    throw Error("{}: custom rounding: expected integers from {} to {}, found {}", linear.name,
                -largest - 1, largest, low < -largest - 1 ? low : high);
  }
  const auto bad = std::ranges::find_if(
      rounded.scales, [](float scale) { return !std::isfinite(scale) || scale == 0; });
  if (bad != rounded.scales.end()) {
    throw Error("{}: custom rounding: expected finite scales other than 0, found {}", linear.name,
                *bad);
  }
}

double RelativeError(const SourceLinear& linear, const GroupQuantized& rounded,
                     std::span<const float> mean_squares) {
  double error = 0, norm = 0;
  for (int64_t i = 0; i < linear.weight.size(); ++i) {
    const double d = mean_squares[static_cast<size_t>(i % linear.k)], w = linear.weight[i];
    const double scale = rounded.scales[static_cast<size_t>(i / rounded.group_size)];
    const double difference = w - scale * rounded.q[static_cast<size_t>(i)];
    error += d * difference * difference;
    norm += d * w * w;
  }
  return norm > 0 ? std::sqrt(error / norm) : 0;
}

}  // namespace

std::vector<std::optional<GroupQuantized>> RoundByCustom(const CustomRounding& rounding,
                                                         std::span<const SourceLinear> linears,
                                                         const SitePolicy& site,
                                                         const SiteStatistics& inputs,
                                                         const RoundingOptions& options) {
  std::vector<std::optional<GroupQuantized>> results;
  for (size_t i = 0; i < linears.size(); ++i) {
    const SourceLinear& linear = linears[i];
    const int bits = options.bits[i];
    std::optional<CustomRounded> rounded = rounding(linear, bits, site, inputs);
    std::optional<GroupQuantized>& result = results.emplace_back();
    if (!rounded) continue;
    CheckRounded(linear, *rounded, bits, options.groups.size);
    result = GroupQuantized{.bits = bits,
                            .group_size = options.groups.size,
                            .q = std::move(rounded->q),
                            .scales = std::move(rounded->scales),
                            .zero_points = {}};
    for (float& scale : result->scales) scale = RoundToStoredScale(scale, options.groups.dtype);
    if (bits == 4 && !options.groups.symmetric) result->zero_points.resize(result->scales.size());
    result->relative_error = RelativeError(linear, *result, inputs.MeanSquares());
  }
  return results;
}

}  // namespace fptq
