// Calibration without data: text that the model writes itself.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/progress.h"
#include "base/thread_pool.h"
#include "model/model.h"

namespace fptq {

struct SelfTextOptions {
  int64_t tokens = 0;  // in all sequences together; rounded up to whole sequences
  int64_t length = 0;  // of a sequence
  uint64_t seed = 0;
  bool chat = false;  // conversations
};

// How many sequences are written side by side: as many as keep the kernels busy, but keys and
// values are to take no more memory than quantization may later: two and a half layers in float32.
int64_t SelfTextSlots(const ModelConfig& config, const SelfTextOptions& options);
// Memory for keys and values of one of them.
int64_t SelfTextSlotBytes(const ModelConfig& config, const SelfTextOptions& options);

// Sequences of `prefix` (shorter than they are), what SelfTextPlan begins them with, and tokens
// drawn from what the model predicts (temperature 1), but where the plan says what follows.
std::vector<std::vector<int32_t>> SampleSelfText(const Model& model,
                                                 std::span<const int32_t> prefix,
                                                 const SelfTextOptions& options, ThreadPool& pool,
                                                 const Progress& progress);

}  // namespace fptq
