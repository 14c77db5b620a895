#include "quant/run/custom_rounding.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/error.h"
#include "quant/round/storage.h"

namespace fptq {
namespace {

void CheckIntegers(const SourceLinear& linear, std::span<const int8_t> values, int bits,
                   std::string_view what) {
  const int largest = (1 << (bits - 1)) - 1;
  if (values.empty()) return;
  const auto [low, high] = std::ranges::minmax(values);
  if (low < -largest - 1 || high > largest) {
    throw Error("{}: custom rounding: expected {} from {} to {}, found {}", linear.name, what,
                -largest - 1, largest, low < -largest - 1 ? low : high);
  }
}

void CheckRounded(const SourceLinear& linear, const CustomRounded& rounded, int bits,
                  const GroupFormat& format) {
  const int64_t scales = linear.channels * (linear.k / format.size);
  if (std::ssize(rounded.q) != linear.channels * linear.k || std::ssize(rounded.scales) != scales) {
    throw Error("{}: custom rounding: expected {} x {} integers and {} scales, found {} and {}",
                linear.name, linear.channels, linear.k, scales, rounded.q.size(),
                rounded.scales.size());
  }
  CheckIntegers(linear, rounded.q, bits, "integers");
  CheckIntegers(linear, rounded.zero_points, bits, "zero points");
  const int64_t most = format.symmetric ? 0 : scales;
  if (!rounded.zero_points.empty() && std::ssize(rounded.zero_points) != most) {
    throw Error("{}: custom rounding: expected {} zero points, found {}", linear.name, most,
                rounded.zero_points.size());
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
    const int64_t group = i / rounded.group_size;
    const double scale = rounded.scales[static_cast<size_t>(group)];
    const double difference =
        w - scale * (rounded.q[static_cast<size_t>(i)] - rounded.ZeroPoint(group));
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
    GroupFormat groups = options.groups;
    groups.symmetric = !site.HasZeroPoints(bits);
    std::optional<CustomRounded> rounded = rounding(linear, bits, site, inputs);
    std::optional<GroupQuantized>& result = results.emplace_back();
    if (!rounded) continue;
    CheckRounded(linear, *rounded, bits, groups);
    result = GroupQuantized{.bits = bits,
                            .group_size = groups.size,
                            .q = std::move(rounded->q),
                            .scales = std::move(rounded->scales),
                            .zero_points = std::move(rounded->zero_points)};
    for (float& scale : result->scales) scale = RoundToStoredScale(scale, groups.dtype);
    if (!groups.symmetric) result->zero_points.resize(result->scales.size());
    result->relative_error = RelativeError(linear, *result, inputs.MeanSquares());
  }
  return results;
}

}  // namespace fptq
