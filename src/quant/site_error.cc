#include "quant/site_error.h"

#include <cmath>

#include "base/error.h"
#include "kernels/dispatch.h"

namespace fptq {

SiteErrorMeter::SiteErrorMeter(const Linear& linear, const SiteStatistics& inputs, ThreadPool& pool)
    : inputs_(inputs),
      pool_(pool),
      rows_(inputs.sample_rows, inputs.k()),
      exact_(inputs.sample_rows * linear.channels()),
      quantized_(inputs.sample_rows * linear.channels()) {
  FPTQ_CHECK(!linear.quantized() && linear.k() == inputs.k() && inputs.sample_rows > 0);
  for (int64_t r = 0; r < inputs.sample_rows; ++r) {
    rows_.Set(linear, r, inputs.sample.data() + r * inputs.k());
  }
  Apply(linear, rows_, inputs.sample_rows, pool, exact_.data(), /*accumulate=*/false);
}

double SiteErrorMeter::Measure(const Linear& linear, std::span<const float> channel_scales,
                               float static_scale) {
  const int64_t k = inputs_.k(), channels = linear.channels();
  FPTQ_CHECK(std::ssize(channel_scales) == k && !linear.quantized());
  FPTQ_CHECK(channels * inputs_.sample_rows == exact_.size());
  pool_.ParallelFor(inputs_.sample_rows, [&](int64_t begin, int64_t end) {
    std::vector<float> x(static_cast<size_t>(k));
    std::vector<int8_t> q(x.size());
    std::vector<int32_t> sums(x.size() / kMinGroupSize);
    for (int64_t r = begin; r < end; ++r) {
      const float* row = inputs_.sample.data() + r * k;
      for (size_t j = 0; j < x.size(); ++j) x[j] = row[j] / channel_scales[j];
      float scale = 0;
      Kernels().quantize_row({.x = x.data(),
                              .n = k,
                              .group_size = kMinGroupSize,
                              .static_scale = static_scale,
                              .q = q.data(),
                              .scale = &scale,
                              .group_sums = sums.data()});
      for (size_t j = 0; j < x.size(); ++j) {
        x[j] = scale * static_cast<float>(q[j]);
      }
      rows_.Set(linear, r, x.data());
    }
  });
  Apply(linear, rows_, inputs_.sample_rows, pool_, quantized_.data(), /*accumulate=*/false);
  double sum = 0;
  for (int64_t r = 0; r < inputs_.sample_rows; ++r) {
    double error = 0, norm = 0;
    for (int64_t i = r * channels; i < (r + 1) * channels; ++i) {
      const double difference = double{exact_[i]} - double{quantized_[i]};
      error += difference * difference;
      norm += double{exact_[i]} * double{exact_[i]};
    }
    if (norm > 0) sum += error / norm;
  }
  return std::sqrt(sum / static_cast<double>(inputs_.sample_rows));
}

}  // namespace fptq
