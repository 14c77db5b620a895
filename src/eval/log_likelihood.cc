#include "eval/log_likelihood.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "engine/scheduler.h"
#include "text/unicode.h"

namespace fptq {
namespace {

constexpr int64_t kSequences = 32;
constexpr int64_t kMaxCacheBytes = int64_t{512} << 20;

// Sums up what the engine says of the continuation.
class Scorer : public Sink {
 public:
  Scorer(LogLikelihood& result, int64_t& finished) : result_(result), finished_(finished) {}

  void OnDelta(Delta delta) override {
    result_.greedy = true;
    for (const TokenLogProbability& score : delta.prompt_log_probabilities) {
      result_.sum += score.log_probability;
      result_.greedy &= score.top[0].token == score.token;
      ++result_.tokens;
    }
  }
  void OnFinish(const Finish&) override {
    if (!std::isfinite(result_.sum)) result_ = {};
    ++finished_;
  }

 private:
  LogLikelihood& result_;
  int64_t& finished_;
};

SchedulerOptions OptionsFor(const Model& model, const LogLikelihoodOptions& options,
                            int64_t context) {
  const int64_t sequences = options.sequences > 0 ? options.sequences : kSequences;
  const KvType type = options.kv_type.value_or(model.kv_type());
  const int64_t sequence_bytes =
      PagesFor(context) * KvCache::PageBytes(model.config(), type, model.config().layers);
  return {
      .context = context,
      .max_sequences = sequences,
      .kv_bytes = std::max(sequence_bytes, std::min(kMaxCacheBytes, sequences * sequence_bytes)),
      .batch_rows = options.batch_rows,
      .scored_rows = options.batch_rows,
      .worth_waiting = 1,  // nobody looks at the time of a single request
      .kv_type = type};
}

Request ScoringRequest(const TokenizedRequest& request) {
  return {.prompt = request.tokens,
          .max_tokens = 0,
          .prompt_log_probabilities = true,
          .prompt_log_probabilities_begin = request.context,
          .top_log_probabilities = 1};
}

}  // namespace

TokenizedRequest Tokenize(const Tokenizer& tokenizer, int32_t start, const EvalRequest& request,
                          int64_t max_tokens) {
  const auto encode = [&](std::string_view text) {
    return tokenizer.Encode(text, {.parse_special = false, .add_prefix = false});
  };
  const std::string text = request.context + request.continuation;
  const size_t border = request.context.size() - TrailingWhitespace(request.context);
  const auto context = encode(std::string_view(text).substr(0, border));
  auto continuation = encode(text);
  const auto parted = std::ranges::mismatch(context, continuation);
  if (parted.in1 == context.end()) {
    continuation.erase(continuation.begin(), parted.in2);
  } else {  // a token spans the border
    continuation = encode(std::string_view(text).substr(border));
  }
  if (continuation.empty()) throw Error("the continuation has no token");

  const std::span<const int32_t> prefix = tokenizer.prefix();
  TokenizedRequest result{.tokens = {prefix.begin(), prefix.end()}};
  result.tokens.insert(result.tokens.end(), context.begin(), context.end());
  if (result.tokens.empty() && start >= 0) result.tokens.push_back(start);
  if (result.tokens.empty()) throw Error("there is no token to predict the continuation from");
  result.context = std::ssize(result.tokens);
  result.tokens.insert(result.tokens.end(), continuation.begin(), continuation.end());
  if (const int64_t surplus = std::ssize(result.tokens) - max_tokens; surplus > 0) {
    if (surplus >= result.context) {
      throw Error("a continuation of {} tokens: expected less than {}", continuation.size(),
                  max_tokens);
    }
    result.tokens.erase(result.tokens.begin(), result.tokens.begin() + surplus);
    result.context -= surplus;
  }
  return result;
}

std::vector<LogLikelihood> ComputeLogLikelihoods(const Model& model,
                                                 std::span<const TokenizedRequest> requests,
                                                 const LogLikelihoodOptions& options,
                                                 ThreadPool& pool, const Progress& progress) {
  int64_t context = 1;
  for (const TokenizedRequest& request : requests) {
    CheckTokens(request.tokens, model.config());
    FPTQ_CHECK(request.context >= 1 && request.context < std::ssize(request.tokens));
    context = std::max(context, std::ssize(request.tokens));
  }
  const SchedulerOptions scheduling = OptionsFor(model, options, context);
  Scheduler scheduler(model, scheduling, pool);
  std::vector<LogLikelihood> results(requests.size());
  int64_t finished = 0;
  for (size_t next = 0; finished < std::ssize(requests);) {
    // As many as go side by side, and as many that wait.
    for (; next < requests.size() && scheduler.unfinished() < 2 * scheduling.max_sequences;
         ++next) {
      auto sequence = scheduler.MakeSequence(ScoringRequest(requests[next]),
                                             std::make_unique<Scorer>(results[next], finished));
      sequence->id = next;
      scheduler.Add(std::move(sequence));
    }
    scheduler.Step();
    if (progress) progress("scoring", finished, std::ssize(requests));
  }
  return results;
}

}  // namespace fptq
