#include "eval/perplexity.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace fptq {
namespace {

// Rows whose logits are held at a time: at a vocabulary of 150,000, 77 MB.
constexpr int64_t kRows = 128;

// Predicts window[1..] from what is before each, and appends the -log p.
class WindowScorer {
 public:
  WindowScorer(const Model& model, const PerplexityOptions& options, ThreadPool& pool)
      : model_(model),
        options_(options),
        pool_(pool),
        cache_(model.config(), model.kv_type(), /*slots=*/1, options.context,
               model.config().layers),
        activations_(model.config(), std::min(options.context, kRows),
                     std::min(options.context, kRows)),
        batch_{.chunks = std::vector<BatchChunk>(1)} {}

  void Score(std::span<const int32_t> window, std::vector<double>& nlls) {
    const auto inputs = window.first(window.size() - 1);
    const auto max_rows = static_cast<size_t>(activations_.max_rows);
    for (size_t begin = 0; begin < inputs.size(); begin += max_rows) {
      const auto chunk = inputs.subspan(begin, std::min(max_rows, inputs.size() - begin));
      batch_.chunks[0] = {.slot = 0,
                          .first_position = static_cast<int64_t>(begin),
                          .tokens = chunk,
                          .logits = std::ssize(chunk)};
      Forward(model_, batch_, cache_, pool_, activations_);
      const auto vocab = static_cast<size_t>(model_.config().vocab);
      const auto logits = activations_.logits.span().first(chunk.size() * vocab);
      if (options_.on_logits) options_.on_logits(logits);
      const size_t first = nlls.size();
      nlls.resize(first + chunk.size());
      pool_.ParallelFor(std::ssize(chunk), [&](int64_t row_begin, int64_t row_end) {
        for (auto row = static_cast<size_t>(row_begin); row < static_cast<size_t>(row_end); ++row) {
          nlls[first + row] =
              NegativeLogLikelihood(logits.subspan(row * vocab, vocab), window[begin + row + 1]);
        }
      });
    }
  }

 private:
  const Model& model_;
  const PerplexityOptions& options_;
  ThreadPool& pool_;
  KvCache cache_;
  Activations activations_;
  ForwardBatch batch_;  // one chunk
};

}  // namespace

double NegativeLogLikelihood(std::span<const float> logits, int32_t target) {
  const double max = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit) - max);
  const double nll = std::log(sum) + max - static_cast<double>(logits[static_cast<size_t>(target)]);
  if (!std::isfinite(nll)) throw Error("the log-likelihood of token {} is not finite", target);
  return nll;
}

PerplexityResult SummarizeNlls(std::span<const double> nlls) {
  if (nlls.empty()) throw Error("perplexity: expected at least one token to score, found none");
  const auto n = static_cast<double>(nlls.size());
  double sum = 0;
  for (const double nll : nlls) sum += nll;
  const double mean = sum / n;
  double squares = 0;
  for (const double nll : nlls) squares += (nll - mean) * (nll - mean);
  const double standard_error = nlls.size() < 2 ? 0 : std::sqrt(squares / (n - 1) / n);
  const double perplexity = std::exp(mean);
  return {.perplexity = perplexity,
          .mean_nll = mean,
          .tokens = std::ssize(nlls),
          .standard_error = perplexity * standard_error};
}

PerplexityResult MeasurePerplexity(const Model& model, std::span<const int32_t> tokens,
                                   std::span<const int32_t> prefix,
                                   const PerplexityOptions& options, ThreadPool& pool,
                                   const Progress& progress) {
  const int64_t new_tokens = options.context - std::ssize(prefix);
  if (options.context < 2 || new_tokens < 1) {
    throw Error("perplexity: expected a context of at least {} tokens, found {}",
                std::max<int64_t>(2, std::ssize(prefix) + 1), options.context);
  }
  CheckTokens(tokens, model.config());
  WindowScorer scorer(model, options, pool);
  std::vector<double> nlls;
  nlls.reserve(tokens.size());
  std::vector<int32_t> window;
  for (int64_t begin = 0; begin < std::ssize(tokens); begin += new_tokens) {
    const int64_t size = std::min(new_tokens, std::ssize(tokens) - begin);
    const auto text = tokens.subspan(static_cast<size_t>(begin), static_cast<size_t>(size));
    window.assign(prefix.begin(), prefix.end());
    window.insert(window.end(), text.begin(), text.end());
    scorer.Score(window, nlls);
    if (progress) progress("scoring", begin + size, std::ssize(tokens));
  }
  return SummarizeNlls(nlls);
}

std::vector<int32_t> TextPrefix(const Tokenizer& tokenizer) {
  return tokenizer.Encode("", {.parse_special = false, .add_special_tokens = true});
}

}  // namespace fptq
