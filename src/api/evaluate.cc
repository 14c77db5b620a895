#include "fptq/evaluate.h"

#include <algorithm>

#include "api/call.h"
#include "eval/divergence.h"
#include "eval/perplexity.h"
#include "eval/text_tokens.h"
#include "model/model.h"

namespace fptq {
namespace {

int64_t ContextFor(const EvaluationOptions& options, const Model& model) {
  const int64_t positions = model.config().max_positions;
  if (options.context < 2) throw Error("context: expected at least 2, found {}", options.context);
  return std::min(options.context, positions);
}

Measured Of(const Estimate& estimate) { return {estimate.mean, estimate.standard_error}; }

PerplexitySummary Of(const PerplexityResult& result) {
  return {.perplexity = {result.perplexity, result.standard_error},
          .nll = Of(result.nll),
          .tokens = result.tokens};
}

}  // namespace

PerplexitySummary Perplexity(const std::filesystem::path& model_path, std::string_view text,
                             const EvaluationOptions& options) {
  return AsApi([&] {
    ThreadPool pool(ThreadCount(options.threads));
    const auto model = LoadModel({model_path, options.pre_tokenizer}, pool);
    return Of(MeasurePerplexity(*model, TextTokens(model->tokenizer, text, options.tokens),
                                model->tokenizer.prefix(), {.context = ContextFor(options, *model)},
                                pool, ProgressOf(options.progress)));
  });
}

DivergenceSummary CompareModels(const std::filesystem::path& model_path,
                                const std::filesystem::path& reference_path, std::string_view text,
                                const EvaluationOptions& options) {
  return AsApi([&] {
    ThreadPool pool(ThreadCount(options.threads));
    const auto model = LoadModel({model_path, options.pre_tokenizer}, pool);
    const auto reference = LoadModel({reference_path, options.pre_tokenizer}, pool);
    const auto tokens = CommonTokens({*model, model_path.native()},
                                     {*reference, reference_path.native()}, text, options.tokens);
    const int64_t context = std::min(ContextFor(options, *model), ContextFor(options, *reference));
    const Divergence d =
        MeasureDivergence(*model, *reference, tokens, model->tokenizer.prefix(),
                          {.context = context}, pool, ProgressOf(options.progress));
    return DivergenceSummary{.model = Of(d.model),
                             .reference = Of(d.reference),
                             .ratio = Of(d.ratio),
                             .kl = Of(d.kl),
                             .top1 = Of(d.top1)};
  });
}

}  // namespace fptq
