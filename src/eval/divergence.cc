#include "eval/divergence.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/error.h"
#include "base/math.h"
#include "engine/sampler.h"
#include "eval/windows.h"

namespace fptq {
namespace {

Estimate RatioOf(const Estimate& log_ratio) {
  const double ratio = Exp(log_ratio.mean);
  return {.mean = ratio, .standard_error = ratio * log_ratio.standard_error};
}

Divergence Summarize(std::span<const TokenDivergence> tokens,
                     std::span<const int64_t> window_sizes) {
  std::vector<double> nlls, reference_nlls, differences, kls, top1s;
  for (const TokenDivergence& token : tokens) {
    nlls.push_back(token.nll);
    reference_nlls.push_back(token.reference_nll);
    differences.push_back(token.nll - token.reference_nll);
    kls.push_back(token.kl);
    top1s.push_back(token.same_top1 ? 1 : 0);
  }
  Divergence result{.model = SummarizeNlls(nlls, window_sizes),
                    .reference = SummarizeNlls(reference_nlls, window_sizes),
                    .nll_difference = ClusteredMean(differences, window_sizes),
                    .ratio = {},
                    .kl = ClusteredMean(kls, window_sizes),
                    .top1 = ClusteredMean(top1s, window_sizes)};
  result.ratio = RatioOf(result.nll_difference);
  std::sort(kls.begin(), kls.end());
  result.kl_median = Quantile(kls, 0.5);
  result.kl_p90 = Quantile(kls, 0.9);
  result.kl_p99 = Quantile(kls, 0.99);
  result.kl_max = kls.back();
  return result;
}

}  // namespace

TokenDivergence CompareLogits(std::span<const float> logits, std::span<const float> reference,
                              std::span<const int32_t> ids, int32_t target) {
  // exp(logit - max): sums of q and p, and of p times the difference of the logits.
  double sum = 0, reference_sum = 0, weighted = 0;
  const double max = std::ranges::max(logits), reference_max = std::ranges::max(reference);
  for (size_t i = 0; i < logits.size(); ++i) {
    const double q = double{logits[i]} - max, p = double{reference[i]} - reference_max;
    const double exp_p = Exp(p);
    sum += Exp(q);
    reference_sum += exp_p;
    weighted += exp_p * (p - q);
  }
  const auto t = static_cast<size_t>(target);
  const double log_sum = Log(sum), reference_log_sum = Log(reference_sum);
  // Not below 0 but by rounding.
  const double kl = weighted / reference_sum + log_sum - reference_log_sum;
  TokenDivergence result = {
      .nll = log_sum - (double{logits[t]} - max),
      .reference_nll = reference_log_sum - (double{reference[t]} - reference_max),
      .kl = kl < 0 ? 0 : kl};
  if (!std::isfinite(result.nll) || !std::isfinite(result.reference_nll) || !std::isfinite(kl)) {
    throw Error("the log-likelihood of token {} or the KL divergence there is not finite", target);
  }
  result.same_top1 = BestToken(logits, ids) == BestToken(reference, ids);
  return result;
}

Divergence MeasureDivergence(const Model& model, const Model& reference,
                             std::span<const int32_t> tokens, std::span<const int32_t> prefix,
                             const DivergenceOptions& options, ThreadPool& pool,
                             const Progress& progress) {
  if (model.config().vocab != reference.config().vocab) {
    throw Error("expected models with one vocabulary, found {} and {} tokens", model.config().vocab,
                reference.config().vocab);
  }
  WindowRunner runners[] = {
      {model, options.kv_type.value_or(model.kv_type()), options.context, pool},
      {reference, options.reference_kv_type.value_or(reference.kv_type()), options.context, pool}};
  runners[0].activations().input.guard = options.guard;
  runners[0].activations().input.token_scales = options.token_scales;
  runners[0].activations().saturation = options.saturation;
  const auto vocab = static_cast<size_t>(model.config().vocab);
  std::vector<TokenDivergence> divergences;
  divergences.reserve(tokens.size());
  std::vector<int64_t> window_sizes;
  ScoreWindows(
      runners, tokens, prefix, options.unscored, progress, [&](const ScoredTokens& scored) {
        const size_t first = divergences.size();
        divergences.resize(first + scored.tokens.size());
        window_sizes.resize(static_cast<size_t>(scored.window) + 1);
        window_sizes.back() += std::ssize(scored.tokens);
        pool.ParallelEach(std::ssize(scored.tokens), [&](int64_t i) {
          const auto row = static_cast<size_t>(i);
          divergences[first + row] = CompareLogits(scored.logits[0].subspan(row * vocab, vocab),
                                                   scored.logits[1].subspan(row * vocab, vocab),
                                                   model.tokenizer.ids(), scored.tokens[row]);
        });
      });
  return Summarize(divergences, window_sizes);
}

}  // namespace fptq
