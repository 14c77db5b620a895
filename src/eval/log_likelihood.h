// The log-likelihood of many continuations, each after its context.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/progress.h"
#include "base/thread_pool.h"
#include "eval/request_file.h"
#include "model/model.h"

namespace fptq {

// Tokens of a context and its continuation.
struct TokenizedRequest {
  std::vector<int32_t> tokens;
  int64_t context = 0;  // how many of them are the context, at least 1
};

// As the usual harnesses do it: context and continuation are encoded together, and what is beyond
// the tokens of the context alone is the continuation; where a token spans the border, the two are
// encoded apart. White space at the end of the context goes to the continuation before. The
// tokenizer's prefix (BOS) comes first; a context without any token is `start`
// (SpecialTokens::start). Of more than `max_tokens` the last ones are kept. Error if there is no
// context then, or no continuation.
TokenizedRequest Tokenize(const Tokenizer& tokenizer, int32_t start, const EvalRequest& request,
                          int64_t max_tokens);

struct LogLikelihood {
  double sum = 0;       // over the tokens of the continuation
  int64_t tokens = 0;   // of the continuation; 0: it could not be scored
  bool greedy = false;  // each of them is the most likely one
};

struct LogLikelihoodOptions {
  std::optional<KvType> kv_type = {};  // the model's own by default
  int64_t batch_rows = 256;            // of a forward pass
  int64_t sequences = 0;               // side by side; 0: as many as are good
};

// In the order of the requests. What requests that stand near each other begin with is computed
// once, as that of the answers of a question. The results depend on the requests alone: not on
// their order, options or threads. What is not finite counts as not scored. Error if a token is not
// in the vocabulary.
std::vector<LogLikelihood> ComputeLogLikelihoods(const Model& model,
                                                 std::span<const TokenizedRequest> requests,
                                                 const LogLikelihoodOptions& options,
                                                 ThreadPool& pool, const Progress& progress);

}  // namespace fptq
