// Equalization that lowers the error of rounded weights.
#pragma once

#include <cstdint>
#include <vector>

#include "base/thread_pool.h"
#include "model/weights/float_layer.h"
#include "quant/calibrate/observer.h"
#include "quant/decide/weight_formats.h"

namespace fptq {

inline constexpr int64_t kEqualizationTries = 7;    // exponents
inline constexpr int64_t kEqualizationRowStep = 4;  // every which output channel is tried

// X' = X diag(s)^-1, W' = W diag(s) with s_j = RMS(X_j)^a: an input channel with large activations
// gets larger weights, and so smaller errors beside those of its group (AWQ, arXiv 2306.00978). Of
// a few exponents a, each site takes the one with which its weights, rounded by QuantizeGroups,
// lose least: sum_j d_j (w_j - s q_j)^2, on a part of the output channels. Changes the layer's
// weights, its producers and the statistics; returns a by site, 0 where nothing can be folded.
std::vector<double> EqualizeForWeights(const ModelConfig& config, const WeightFormats& formats,
                                       int64_t layer, SourceLayer& weights,
                                       LayerStatistics& statistics, ThreadPool& pool);

}  // namespace fptq
