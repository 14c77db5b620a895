// Which layers suffer from quantization.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/progress.h"
#include "base/thread_pool.h"
#include "eval/statistics.h"
#include "model/model.h"

namespace fptq {

// For each layer: the KL divergence, in nats a token, between the float model and the float model
// with this layer alone taken from the quantized one. Keys, values and lm_head are float in both.
// A layer of a quantized model stands for the float one, since equalization stays within a layer.
// `tokens` are cut into windows of `context` that do not overlap, each begun by `prefix` (BOS, or
// empty); all their positions count, and errors are those between windows. Takes layers^2 / 2
// layer passes, and memory for layers x context x hidden floats. Error if the models differ in
// shape, `source` is quantized, or there are no tokens.
std::vector<Estimate> MeasureSensitivity(const Model& quantized, const Model& source,
                                         std::span<const int32_t> tokens,
                                         std::span<const int32_t> prefix, int64_t context,
                                         ThreadPool& pool, const Progress& progress);

}  // namespace fptq
