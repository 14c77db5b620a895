// Equalization: offline and function-preserving, X' = X diag(s)^-1 and W' = W diag(s).
#pragma once

#include <span>
#include <vector>

#include "base/tensor.h"
#include "base/thread_pool.h"
#include "model/weights/float_layer.h"
#include "quant/calibrate/observer.h"
#include "quant/recipe.h"

namespace fptq {

// LAE, logarithmic activation equalization: s_j = max|X_j| / log2(2 + max|X_j|), so that X'_j = X_j
// / s_j has the range log2(2 + max|X_j|). 1 for a dead channel (max|X_j| = 0) and where s_j is not
// a normal positive number.
std::vector<float> LaeScales(std::span<const float> absmax);

// SmoothQuant (arXiv 2211.10438, eq. 4) with alpha = 1/2: s_j = sqrt(max|X_j| / max|W_j|), over all
// linears of the site. 1 as above.
std::vector<float> SmoothQuantScales(std::span<const float> absmax,
                                     std::span<const SourceLinear> linears);

// Weight and bias of the norm divided by s, rounded to `dtype` as they are stored, the weights less
// `offset` (ArchSpec::norm_offset); s_j becomes what
// the weight was really divided by, so that the linears can make up for the rounding. A channel
// whose weight would leave the normal numbers of `dtype`, or whose bias would become infinite,
// keeps s_j = 1.
void FoldIntoNorm(Norm& norm, DataType dtype, float offset, std::span<float> scales);

// W' = W diag(s): multiplies input channel j of all `linears` by s_j.
void ScaleInputs(std::span<SourceLinear> linears, std::span<const float> scales, ThreadPool& pool);

// max_j max|X_j| / s_j: the range of X', known without calibrating again.
double EqualizedRange(std::span<const float> absmax, std::span<const float> scales);

// The s of a site's input channels, such that the producer can be divided by them: tied where input
// channels come from one row, and those of FoldIntoNorm. All 1 if `method` is kNone.
// `linears` are those of the site.
std::vector<float> SiteScales(Equalization method, const EqualizationGroup& group,
                              const ModelConfig& config, const SourceLayer& weights,
                              std::span<const SourceLinear> linears, const SiteStatistics& inputs);

// The same of s_j = RMS(X_j)^exponent, with a geometric mean of 1.
std::vector<float> PowerScales(std::span<const float> mean_squares, double exponent,
                               const EqualizationGroup& group, const ModelConfig& config,
                               const SourceLayer& weights);

// Divides the producer by such scales, multiplies the linears of weights.sites[site], and lets the
// statistics follow.
void EqualizeSite(const EqualizationGroup& group, const ModelConfig& config, int64_t layer,
                  size_t site, std::span<const float> scales, SourceLayer& weights,
                  SiteStatistics& inputs, ThreadPool& pool);

}  // namespace fptq
