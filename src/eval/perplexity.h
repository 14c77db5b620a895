// Perplexity: how well a model predicts a text.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "base/progress.h"
#include "base/thread_pool.h"
#include "model/model.h"

namespace fptq {

struct PerplexityOptions {
  int64_t context = 1024;  // tokens of a window, BOS included; at least 2
  // If set, is given the logits of the scored tokens, in order, some rows at a time: [rows, vocab].
  std::function<void(std::span<const float>)> on_logits = {};
};

struct PerplexityResult {
  double perplexity = 0;      // exp(mean_nll)
  double mean_nll = 0;        // mean of -log p(token | the tokens before it in its window)
  int64_t tokens = 0;         // scored
  double standard_error = 0;  // of the perplexity: perplexity * standard error of mean_nll
};

// -log softmax(logits)[target], in double. Error if it is not finite.
double NegativeLogLikelihood(std::span<const float> logits, int32_t target);

// Error if there are none.
PerplexityResult SummarizeNlls(std::span<const double> nlls);

// Splits `tokens` into windows that do not overlap, each predicted from its own start alone.
// `prefix` (BOS, or empty) starts each window and counts towards its length. All tokens but the
// first of a window are scored. The result does not depend on the number of threads. Error if there
// is no token to score.
PerplexityResult MeasurePerplexity(const Model& model, std::span<const int32_t> tokens,
                                   std::span<const int32_t> prefix,
                                   const PerplexityOptions& options, ThreadPool& pool,
                                   const Progress& progress);

// What the tokenizer puts before a text, e.g. BOS; empty for most models.
std::vector<int32_t> TextPrefix(const Tokenizer& tokenizer);

}  // namespace fptq
