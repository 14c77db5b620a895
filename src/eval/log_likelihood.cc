#include "eval/log_likelihood.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "engine/sampler.h"
#include "eval/perplexity.h"
#include "text/unicode.h"

namespace fptq {
namespace {

constexpr int64_t kMaxSequences = 16;
constexpr int64_t kMaxCacheBytes = int64_t{512} << 20;

// A sequence of the KV cache and the run of requests that goes through it.
struct Sequence {
  std::vector<int32_t> cached;  // tokens whose keys and values are in the cache
  size_t request = 0, end = 0;  // the current one and the end of the run
};

int64_t CommonPrefix(std::span<const int32_t> a, std::span<const int32_t> b) {
  return std::ranges::mismatch(a, b).in1 - a.begin();
}

class Scorer {
 public:
  Scorer(const Model& model, std::span<const TokenizedRequest> requests,
         std::span<const int64_t> runs, const LogLikelihoodOptions& options, ThreadPool& pool,
         int64_t capacity, int64_t sequences)
      : model_(model),
        requests_(requests),
        runs_(runs),
        pool_(pool),
        pages_(PagesFor(capacity)),
        cache_(model.config(), options.kv_type.value_or(model.kv_type()), sequences * pages_,
               model.config().layers),
        table_(PageRange(0, cache_.pages())),
        activations_(model.config(), options.batch_rows, options.batch_rows),
        sequences_(static_cast<size_t>(sequences)),
        results_(requests.size(), {.greedy = true}) {}

  std::vector<LogLikelihood> Run(const Progress& progress) {
    const int64_t total = std::ssize(requests_);
    while (FillBatch()) {
      Forward(model_, batch_, cache_, pool_, activations_);
      Score();
      for (const BatchChunk& chunk : batch_.chunks) Advance(chunk);
      if (progress) progress("scoring", finished_, total);
    }
    for (LogLikelihood& result : results_) {
      if (!std::isfinite(result.sum)) result = {};
    }
    return std::move(results_);
  }

 private:
  // Takes the next rows of each sequence, as many as fit. False if all requests are finished.
  bool FillBatch() {
    batch_.chunks.clear();
    int64_t rows = 0;
    for (size_t slot = 0; slot < sequences_.size() && rows < activations_.max_rows; ++slot) {
      Sequence& sequence = sequences_[slot];
      if (sequence.request == sequence.end && !NextRun(sequence)) continue;
      const TokenizedRequest& request = requests_[sequence.request];
      const int64_t position = std::ssize(sequence.cached);
      const int64_t count =
          std::min(std::ssize(request.tokens) - 1 - position, activations_.max_rows - rows);
      // The row of the context's last token predicts the first one of the continuation.
      const int64_t first_scored = std::max(position, request.context - 1);
      batch_.chunks.push_back(
          {.pages = std::span(table_).subspan(slot * static_cast<size_t>(pages_),
                                              static_cast<size_t>(pages_)),
           .first_position = position,
           .tokens = std::span(request.tokens)
                         .subspan(static_cast<size_t>(position), static_cast<size_t>(count)),
           .logits = std::max<int64_t>(0, position + count - first_scored)});
      rows += count;
    }
    return rows > 0;
  }

  bool NextRun(Sequence& sequence) {
    if (run_ == runs_.size()) return false;
    sequence.request = next_request_;
    sequence.end = next_request_ += static_cast<size_t>(runs_[run_++]);
    Rewind(sequence);
    return true;
  }

  // To where the current request parts from what is in the cache, or to its first scored row.
  void Rewind(Sequence& sequence) const {
    const TokenizedRequest& request = requests_[sequence.request];
    const int64_t common = CommonPrefix(sequence.cached, request.tokens);
    sequence.cached.resize(static_cast<size_t>(std::min(common, request.context - 1)));
  }

  Sequence& SequenceOf(const BatchChunk& chunk) {
    return sequences_[static_cast<size_t>(chunk.pages[0] / pages_)];
  }

  void Score() {
    targets_.clear();
    for (const BatchChunk& chunk : batch_.chunks) {
      const size_t index = SequenceOf(chunk).request;
      const int64_t end = chunk.first_position + std::ssize(chunk.tokens);
      for (int64_t row = end - chunk.logits; row < end; ++row) {
        targets_.emplace_back(index, requests_[index].tokens[static_cast<size_t>(row) + 1]);
      }
    }
    tokens_.resize(targets_.size());
    const auto vocab = static_cast<size_t>(model_.config().vocab);
    pool_.ParallelEach(std::ssize(targets_), [&](int64_t i) {
      const auto row = static_cast<size_t>(i);
      tokens_[row] =
          ScoreToken(activations_.logits.span().subspan(row * vocab, vocab), targets_[row].second);
    });
    for (size_t i = 0; i < targets_.size(); ++i) {
      LogLikelihood& result = results_[targets_[i].first];
      result.sum += tokens_[i].sum;
      result.greedy &= tokens_[i].greedy;
      ++result.tokens;
    }
  }

  LogLikelihood ScoreToken(std::span<const float> logits, int32_t target) const {
    try {
      return {.sum = -NegativeLogLikelihood(logits, target),
              .greedy = BestToken(logits, model_.tokenizer.ids()) == target};
    } catch (const Error&) {
      return {.sum = std::numeric_limits<double>::quiet_NaN()};  // not finite
    }
  }

  void Advance(const BatchChunk& chunk) {
    Sequence& sequence = SequenceOf(chunk);
    sequence.cached.insert(sequence.cached.end(), chunk.tokens.begin(), chunk.tokens.end());
    if (sequence.cached.size() + 1 < requests_[sequence.request].tokens.size()) return;
    ++finished_;
    if (++sequence.request < sequence.end) Rewind(sequence);
  }

  const Model& model_;
  std::span<const TokenizedRequest> requests_;
  std::span<const int64_t> runs_;
  ThreadPool& pool_;
  int64_t pages_;  // of each sequence
  KvCache cache_;
  std::vector<int32_t> table_;  // of all sequences, one after the other
  Activations activations_;
  std::vector<Sequence> sequences_;
  ForwardBatch batch_;
  size_t run_ = 0, next_request_ = 0;
  int64_t finished_ = 0;
  std::vector<std::pair<size_t, int32_t>> targets_;  // of each row of logits: request and token
  std::vector<LogLikelihood> tokens_;                // of each row of logits
  std::vector<LogLikelihood> results_;               // of each request
};

int64_t ChooseSequences(const ModelConfig& config, KvType type, int64_t capacity) {
  const int64_t bytes = PagesFor(capacity) * KvCache::PageBytes(config, type, config.layers);
  return std::clamp(kMaxCacheBytes / bytes, int64_t{1}, kMaxSequences);
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
                                                 std::span<const int64_t> runs,
                                                 const LogLikelihoodOptions& options,
                                                 ThreadPool& pool, const Progress& progress) {
  int64_t capacity = 1;
  for (const TokenizedRequest& request : requests) {
    CheckTokens(request.tokens, model.config());
    FPTQ_CHECK(request.context >= 1 && request.context < std::ssize(request.tokens));
    capacity = std::max(capacity, std::ssize(request.tokens) - 1);
  }
  const KvType type = options.kv_type.value_or(model.kv_type());
  const int64_t sequences =
      options.sequences > 0 ? options.sequences : ChooseSequences(model.config(), type, capacity);
  return Scorer(model, requests, runs, options, pool, capacity, sequences).Run(progress);
}

}  // namespace fptq
