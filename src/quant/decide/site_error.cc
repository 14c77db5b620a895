#include "quant/decide/site_error.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "kernels/dispatch.h"

namespace fptq {
namespace {

// What LinearInput::Set needs of a float linear.
Linear FloatShape(int64_t k) {
  return {.weights = FloatMatrix{.channels = 0, .k = k, .tiles = {}}, .bias = {}, .act = {}};
}

void Grow(AlignedBuffer<float>& buffer, int64_t size) {
  if (buffer.size() < size) buffer.Resize(size);
}

}  // namespace

SiteErrorMeter::SiteErrorMeter(const SiteStatistics& inputs, ThreadPool& pool)
    : inputs_(inputs),
      pool_(pool),
      rows_(inputs.sample_rows, inputs.k()),
      norms_(static_cast<size_t>(inputs.sample_rows)) {
  FPTQ_CHECK(inputs.sample_rows > 0);
  const Linear shape = FloatShape(inputs.k());
  for (int64_t r = 0; r < inputs.sample_rows; ++r) {
    rows_.Set(shape, r, inputs.sample.data() + r * inputs.k());
  }
}

size_t SiteErrorMeter::AddQuantization(std::span<const float> channel_scales, float static_scale) {
  const int64_t k = inputs_.k();
  FPTQ_CHECK(std::ssize(channel_scales) == k);
  Quantization& added = quantizations_.emplace_back(
      Quantization{LinearInput(inputs_.sample_rows, k), std::vector<double>(norms_.size())});
  const Linear shape = FloatShape(k);
  pool_.ParallelFor(inputs_.sample_rows, [&](int64_t begin, int64_t end) {
    std::vector<float> x(static_cast<size_t>(k));
    std::vector<int8_t> q(x.size());
    std::vector<int32_t> sums(x.size() / kMinGroupSize);
    std::vector<float> scales(sums.size());
    for (int64_t r = begin; r < end; ++r) {
      const float* row = inputs_.sample.data() + r * k;
      for (size_t j = 0; j < x.size(); ++j) x[j] = row[j] / channel_scales[j];
      Kernels().quantize_row({.x = x.data(),
                              .n = k,
                              .group_size = kMinGroupSize,
                              .static_scale = static_scale,
                              .one_scale = true,  // which all readers of a folder understand
                              .q = q.data(),
                              .scales = scales.data(),
                              .group_sums = sums.data()});
      for (size_t j = 0; j < x.size(); ++j) x[j] = scales[0] * static_cast<float>(q[j]);
      added.rows.Set(shape, r, x.data());
    }
  });
  return quantizations_.size() - 1;
}

void SiteErrorMeter::SetChannels(const Linear& exact) {
  FPTQ_CHECK(!exact.TakesInt8() && exact.k() == inputs_.k());
  const int64_t channels = exact.channels();
  Grow(exact_, inputs_.sample_rows * channels);
  Apply(exact, rows_, inputs_.sample_rows, pool_, exact_.data(), /*accumulate=*/false);
  pool_.ParallelFor(inputs_.sample_rows, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      for (int64_t i = r * channels; i < (r + 1) * channels; ++i) {
        norms_[static_cast<size_t>(r)] += double{exact_[i]} * double{exact_[i]};
      }
    }
  });
}

void SiteErrorMeter::Measure(size_t quantization, const Linear& rounded) {
  Quantization& measured = quantizations_.at(quantization);
  const int64_t channels = rounded.channels();
  FPTQ_CHECK(!rounded.TakesInt8() && channels * inputs_.sample_rows <= exact_.size());
  Grow(quantized_, inputs_.sample_rows * channels);
  Apply(rounded, measured.rows, inputs_.sample_rows, pool_, quantized_.data(),
        /*accumulate=*/false);
  pool_.ParallelFor(inputs_.sample_rows, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      for (int64_t i = r * channels; i < (r + 1) * channels; ++i) {
        const double difference = double{exact_[i]} - double{quantized_[i]};
        measured.errors[static_cast<size_t>(r)] += difference * difference;
      }
    }
  });
}

double SiteErrorMeter::Error(size_t quantization) const {
  const std::vector<double>& errors = quantizations_.at(quantization).errors;
  double sum = 0;
  for (size_t r = 0; r < errors.size(); ++r) {
    if (norms_[r] > 0) sum += errors[r] / norms_[r];
  }
  const double error = std::sqrt(sum / static_cast<double>(errors.size()));
  // Outputs that overflow: such a quantization is worse than any other, and JSON has no infinity.
  return std::isfinite(error) ? error : std::numeric_limits<double>::max();
}

}  // namespace fptq
