// LAE, logarithmic activation equalization: offline, function-preserving.
#pragma once

#include <span>
#include <vector>

#include "base/tensor.h"
#include "base/thread_pool.h"
#include "model/source.h"
#include "quant/observer.h"

namespace fptq {

// s_j = max|X_j| / log2(2 + max|X_j|), so that X'_j = X_j / s_j has the range log2(2 + max|X_j|).
// 1 for a dead channel (max|X_j| = 0) and where s_j is not a normal positive number.
std::vector<float> LaeScales(std::span<const float> absmax);

// norm_j = norm_j / s_j, rounded to `dtype` as it is stored; s_j becomes what the norm was really
// divided by, so that the weights can make up for the rounding. A channel whose norm would leave
// the normal numbers of `dtype` keeps s_j = 1.
void FoldIntoNorm(std::span<float> norm, DataType dtype, std::span<float> scales);

// W' = W diag(s): multiplies input channel j of all `linears` by s_j.
void ScaleInputs(std::span<SourceLinear> linears, std::span<const float> scales, ThreadPool& pool);

// Equalizes a site whose producer is a norm by LAE: its norm, its linears, its statistics.
void EqualizeSite(ActSite site, DataType dtype, SourceLayer& weights, SiteStatistics& inputs,
                  ThreadPool& pool);

// max_j max|X_j| / s_j: the range of X', known without calibrating again.
double EqualizedRange(std::span<const float> absmax, std::span<const float> scales);

}  // namespace fptq
