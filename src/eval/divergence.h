// How far a model's predictions are from those of a reference.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "eval/perplexity.h"
#include "eval/statistics.h"

namespace fptq {

// p and q are the distributions of the reference and of the model for a token. All differences are
// paired: token by token on the same text.
struct Divergence {
  PerplexityResult model, reference;
  Estimate nll_difference;  // of the model less that of the reference
  Estimate ratio;           // of the perplexities: exp(nll_difference.mean), and its error
  Estimate kl;              // sum p log(p / q), in nats
  double kl_median = 0, kl_p90 = 0, kl_p99 = 0, kl_max = 0;
  Estimate top1;  // share of tokens where p and q have their maximum at the same token
};

struct TokenDivergence {
  double nll = 0, reference_nll = 0;
  double kl = 0;
  bool same_top1 = false;  // of equal logits the first counts
};

// Of one token, from both models' logits; `ids` has those among which the largest is looked for
// (Tokenizer::ids()). Error if a log-likelihood or the divergence is not
// finite.
TokenDivergence CompareLogits(std::span<const float> logits, std::span<const float> reference,
                              std::span<const int32_t> ids, int32_t target);

struct DivergenceOptions {
  int64_t context = 1024;                        // as PerplexityOptions::context
  int64_t unscored = 1;                          // as PerplexityOptions::unscored
  std::optional<KvType> kv_type = {};            // the model's own by default
  std::optional<KvType> reference_kv_type = {};  // likewise
  bool guard = false;                            // of the model: LinearInput::guard
  bool token_scales = false;                     // of the model: LinearInput::token_scales
  Saturation* saturation = nullptr;              // of the model: Activations::saturation
};

// Runs both models side by side, some rows at a time, in windows as ScoreWindows has them. The
// result does not depend on the number of threads. Error if the models do not have vocabularies of
// the same size or there is no token to score.
Divergence MeasureDivergence(const Model& model, const Model& reference,
                             std::span<const int32_t> tokens, std::span<const int32_t> prefix,
                             const DivergenceOptions& options, ThreadPool& pool,
                             const Progress& progress);

}  // namespace fptq
