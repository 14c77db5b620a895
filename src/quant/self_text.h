// Calibration without data: text that the model writes itself.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/progress.h"
#include "base/thread_pool.h"
#include "model/model.h"

namespace fptq {

// Tokens uniform over Tokenizer::ids() without special tokens; a seed gives the same ones on every
// machine.
class RandomTokens {
 public:
  // Error if the vocabulary has only special tokens.
  RandomTokens(uint64_t seed, const Tokenizer& tokenizer);
  int32_t Next();

 private:
  uint64_t state_;
  std::vector<int32_t> vocabulary_;
};

struct SelfTextOptions {
  int64_t tokens = 0;  // in all sequences together; rounded up to whole sequences
  int64_t length = 0;  // of a sequence
  uint64_t seed = 0;
};

// How many sequences are written side by side: as many as keep the kernels busy, but keys and
// values are to take no more memory than quantization may later: two and a half layers in float32.
int64_t SelfTextSlots(const ModelConfig& config, const SelfTextOptions& options);
// Memory for keys and values of one of them.
int64_t SelfTextSlotBytes(const ModelConfig& config, const SelfTextOptions& options);

// Sequences of `prefix` (shorter than they are), a random token, and tokens drawn from what the
// model predicts (temperature 1). Where the model draws a special token, as at the end of a text, a
// random one begins another.
std::vector<std::vector<int32_t>> SampleSelfText(const Model& model,
                                                 std::span<const int32_t> prefix,
                                                 const SelfTextOptions& options, ThreadPool& pool,
                                                 const Progress& progress);

}  // namespace fptq
