// Perplexity: how well a model predicts a text.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "base/progress.h"
#include "base/thread_pool.h"
#include "eval/statistics.h"
#include "model/model.h"

namespace fptq {

struct PerplexityOptions {
  int64_t context = 1024;              // tokens of a window, BOS included; at least 2
  int64_t unscored = 1;                // tokens at the beginning of a window that are not scored
  std::optional<KvType> kv_type = {};  // the model's own by default
  bool guard = false;                  // LinearInput::guard
  bool token_scales = false;           // LinearInput::token_scales
  Saturation* saturation = nullptr;    // Activations::saturation
  // If set, is given the logits of the scored tokens, in order, some rows at a time: [rows, vocab].
  std::function<void(std::span<const float>)> on_logits = {};
};

struct PerplexityResult {
  double perplexity = 0;      // exp(nll.mean)
  double standard_error = 0;  // of the perplexity: perplexity * nll.standard_error
  Estimate nll;               // -log p(token | the tokens before it in its window)
  int64_t tokens = 0;         // scored
  int64_t windows = 0;        // with scored tokens; the clusters of the standard errors
};

// -log softmax(logits)[target], in double. Error if it is not finite.
double NegativeLogLikelihood(std::span<const float> logits, int32_t target);

// `window_sizes`: how many of the values belong to each window. Error if there are none.
PerplexityResult SummarizeNlls(std::span<const double> nlls, std::span<const int64_t> window_sizes);

// In windows as ScoreWindows has them. The result does not depend on the number of threads. Error
// if there is no token to score.
PerplexityResult MeasurePerplexity(const Model& model, std::span<const int32_t> tokens,
                                   std::span<const int32_t> prefix,
                                   const PerplexityOptions& options, ThreadPool& pool,
                                   const Progress& progress);

}  // namespace fptq
