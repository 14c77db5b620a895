#include "quant/equalize.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "quant/storage.h"

namespace fptq {

std::vector<float> LaeScales(std::span<const float> absmax) {
  std::vector<float> scales(absmax.size(), 1.0f);
  for (size_t j = 0; j < absmax.size(); ++j) {
    const double m = absmax[j];
    const auto scale = static_cast<float>(m / std::log2(2 + m));
    if (std::isnormal(scale) && scale > 0) scales[j] = scale;
  }
  return scales;
}

void FoldIntoNorm(std::span<float> norm, DataType dtype, std::span<float> scales) {
  FPTQ_CHECK(norm.size() == scales.size());
  // Below it a 16-bit type has fewer digits; for BF16 the bound is that of F32.
  const float smallest = dtype == DataType::kF16 ? 0x1p-14f : 0x1p-126f;
  for (size_t j = 0; j < norm.size(); ++j) {
    const float folded = RoundToStored(norm[j] / scales[j], dtype);
    if (std::isfinite(folded) && std::abs(folded) >= smallest) {
      scales[j] = norm[j] / folded;
      norm[j] = folded;
    } else {
      scales[j] = 1;
      norm[j] = RoundToStored(norm[j], dtype);
    }
  }
}

void ScaleInputs(std::span<SourceLinear> linears, std::span<const float> scales, ThreadPool& pool) {
  for (SourceLinear& linear : linears) {
    FPTQ_CHECK(linear.k == std::ssize(scales));
    pool.ParallelFor(linear.channels, [&](int64_t begin, int64_t end) {
      for (int64_t n = begin; n < end; ++n) {
        float* row = linear.weight.data() + n * linear.k;
        for (int64_t j = 0; j < linear.k; ++j) row[j] *= scales[static_cast<size_t>(j)];
      }
    });
  }
}

void EqualizeSite(ActSite site, DataType dtype, SourceLayer& weights, SiteStatistics& inputs,
                  ThreadPool& pool) {
  std::vector<float> scales = LaeScales(inputs.absmax);
  FoldIntoNorm(weights.norm(site), dtype, scales);
  ScaleInputs(weights.linears[static_cast<size_t>(site)], scales, pool);
  inputs.DivideChannels(scales);
}

double EqualizedRange(std::span<const float> absmax, std::span<const float> scales) {
  double range = 0;
  for (size_t j = 0; j < absmax.size(); ++j) {
    range = std::max(range, double{absmax[j]} / double{scales[j]});
  }
  return range;
}

}  // namespace fptq
