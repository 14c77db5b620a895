// Runs models over a text in windows that do not overlap.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/progress.h"
#include "base/thread_pool.h"
#include "model/model.h"

namespace fptq {

// One model on one window after another.
class WindowRunner {
 public:
  // `context`: the most tokens of a window, at least 2.
  WindowRunner(const Model& model, KvType kv_type, int64_t context, ThreadPool& pool);

  const Model& model() const { return model_; }
  int64_t context() const { return context_; }
  Activations& activations() { return activations_; }

  // Runs the window's tokens `chunk`, which begin at `position`; those before have been run.
  // Returns the logits after each, [chunk, vocab], valid until the next call.
  std::span<const float> Run(std::span<const int32_t> chunk, int64_t position);

 private:
  const Model& model_;
  int64_t context_;
  ThreadPool& pool_;
  KvCache cache_;
  Activations activations_;
  ForwardBatch batch_;  // one chunk
};

// Some consecutive tokens of a window, and what the models say of them.
struct ScoredTokens {
  int64_t window = 0;
  std::span<const int32_t> tokens;
  std::vector<std::span<const float>> logits;  // of each model: [tokens, vocab]
};

// Splits `tokens` into windows that do not overlap, each predicted from its own start alone.
// `prefix` (BOS, or empty) starts each window and counts towards its length. All tokens but the
// first of a window are scored. All runners have the same context. Error if it is too small for the
// prefix or a token is not in a model's vocabulary.
void ScoreWindows(std::span<WindowRunner> runners, std::span<const int32_t> tokens,
                  std::span<const int32_t> prefix, const Progress& progress,
                  FunctionRef<void(const ScoredTokens&)> visit);

}  // namespace fptq
