#include "eval/perplexity.h"

#include <cmath>

#include "base/error.h"
#include "base/math.h"
#include "engine/log_probability.h"
#include "eval/windows.h"

namespace fptq {

double NegativeLogLikelihood(std::span<const float> logits, int32_t target) {
  const LogSoftmax softmax(logits);
  const double nll =
      softmax.log_sum - (double{logits[static_cast<size_t>(target)]} - softmax.largest);
  if (!std::isfinite(nll)) throw Error("the log-likelihood of token {} is not finite", target);
  return nll;
}

PerplexityResult SummarizeNlls(std::span<const double> nlls,
                               std::span<const int64_t> window_sizes) {
  if (nlls.empty()) throw Error("perplexity: expected at least one token to score, found none");
  const Estimate nll = ClusteredMean(nlls, window_sizes);
  const double perplexity = Exp(nll.mean);
  return {.perplexity = perplexity,
          .standard_error = perplexity * nll.standard_error,
          .nll = nll,
          .tokens = std::ssize(nlls),
          .windows = std::ssize(window_sizes)};
}

PerplexityResult MeasurePerplexity(const Model& model, std::span<const int32_t> tokens,
                                   std::span<const int32_t> prefix,
                                   const PerplexityOptions& options, ThreadPool& pool,
                                   const Progress& progress) {
  WindowRunner runner(model, options.kv_type.value_or(model.kv_type()), options.context, pool);
  runner.activations().input.guard = options.guard;
  runner.activations().input.token_scales = options.token_scales;
  runner.activations().saturation = options.saturation;
  const auto vocab = static_cast<size_t>(model.config().vocab);
  std::vector<double> nlls;
  nlls.reserve(tokens.size());
  std::vector<int64_t> window_sizes;
  ScoreWindows({&runner, 1}, tokens, prefix, options.unscored, progress,
               [&](const ScoredTokens& scored) {
                 if (options.on_logits) options.on_logits(scored.logits[0]);
                 const size_t first = nlls.size();
                 nlls.resize(first + scored.tokens.size());
                 window_sizes.resize(static_cast<size_t>(scored.window) + 1);
                 window_sizes.back() += std::ssize(scored.tokens);
                 pool.ParallelEach(std::ssize(scored.tokens), [&](int64_t i) {
                   const auto row = static_cast<size_t>(i);
                   nlls[first + row] = NegativeLogLikelihood(
                       scored.logits[0].subspan(row * vocab, vocab), scored.tokens[row]);
                 });
               });
  return SummarizeNlls(nlls, window_sizes);
}

}  // namespace fptq
