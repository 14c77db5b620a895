// Runs models over a text in windows that do not overlap.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/progress.h"
#include "base/thread_pool.h"
#include "engine/runner.h"

namespace fptq {

// `tokens` in windows of `context` that do not overlap; `prefix` (BOS, or empty) starts each window
// and counts towards its length. Error if `context` is too small for more than the prefix, or below
// 2.
std::vector<std::vector<int32_t>> CutWindows(std::span<const int32_t> tokens,
                                             std::span<const int32_t> prefix, int64_t context);

// One model on one window after another.
class WindowRunner {
 public:
  // `context`: the most tokens of a window, at least 2.
  WindowRunner(const Model& model, KvType kv_type, int64_t context, ThreadPool& pool);

  const Model& model() const { return runner_.model(); }
  int64_t context() const { return context_; }
  Activations& activations() { return runner_.activations(); }

  // Runs the window's tokens `chunk`, which begin at `position`; those before have been run.
  // Returns the logits after each, [chunk, vocab], valid until the next call.
  std::span<const float> Run(std::span<const int32_t> chunk, int64_t position);

 private:
  int64_t context_;
  Runner runner_;
};

// Some consecutive tokens of a window, and what the models say of them.
struct ScoredTokens {
  int64_t window = 0;
  std::span<const int32_t> tokens;
  std::vector<std::span<const float>> logits;  // of each model: [tokens, vocab]
};

// Predicts each window of CutWindows from its own start alone. All tokens of a window are scored
// but the first `unscored`, at least 1. All runners have the same context. Error as there, or if a
// token is not in a model's vocabulary.
void ScoreWindows(std::span<WindowRunner> runners, std::span<const int32_t> tokens,
                  std::span<const int32_t> prefix, int64_t unscored, const Progress& progress,
                  FunctionRef<void(const ScoredTokens&)> visit);

}  // namespace fptq
