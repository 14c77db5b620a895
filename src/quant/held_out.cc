#include "quant/held_out.h"

#include <algorithm>
#include <vector>

#include "model/model.h"
#include "quant/site_error.h"

namespace fptq {

SourceLinear RoundedChannels(const GroupQuantized& rounded, int64_t k, int64_t first,
                             int64_t channels, ThreadPool& pool) {
  SourceLinear linear = {.name = "", .channels = channels, .k = k, .weight = {}, .bias = {}};
  linear.weight.Resize(channels * k);
  const int64_t size = rounded.group_size, first_group = first * k / size;
  pool.ParallelFor(channels * k / size, [&](int64_t begin, int64_t end) {
    for (int64_t group = begin; group < end; ++group) {
      const float scale = rounded.scales[static_cast<size_t>(first_group + group)];
      const int8_t* q = rounded.q.data() + (first_group + group) * size;
      for (int64_t i = 0; i < size; ++i) {
        linear.weight[group * size + i] = scale * static_cast<float>(q[i]);
      }
    }
  });
  return linear;
}

size_t LeastErrorOf(const SourceLinear& linear, std::span<const GroupQuantized> roundings,
                    const SiteStatistics& inputs, ThreadPool& pool) {
  const std::vector<float> ones(static_cast<size_t>(linear.k), 1.0f);
  SiteErrorMeter meter(inputs, pool);
  for (size_t i = 0; i < roundings.size(); ++i) meter.AddQuantization(ones, /*static_scale=*/0);
  for (int64_t first = 0; first < linear.channels; first += kMeasuredChannels) {
    const int64_t channels = std::min(kMeasuredChannels, linear.channels - first);
    {
      SourceLinear exact = {
          .name = "", .channels = channels, .k = linear.k, .weight = {}, .bias = {}};
      exact.weight.Resize(channels * linear.k);
      std::copy_n(linear.weight.data() + first * linear.k, exact.weight.size(),
                  exact.weight.data());
      meter.SetChannels(FloatLinear({&exact, 1}, pool));
    }
    for (size_t i = 0; i < roundings.size(); ++i) {
      const SourceLinear rounded = RoundedChannels(roundings[i], linear.k, first, channels, pool);
      meter.Measure(i, FloatLinear({&rounded, 1}, pool));
    }
  }
  size_t best = 0;
  for (size_t i = 1; i < roundings.size(); ++i) {
    if (meter.Error(i) < meter.Error(best)) best = i;
  }
  return best;
}

}  // namespace fptq
