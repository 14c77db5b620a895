// What is asked of the engine, and what it gives back.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/sampler.h"

namespace fptq {

struct Request {
  std::vector<int32_t> prompt = {};  // at least one token; at most the context
  SamplerOptions sampling = {};
  int64_t max_tokens = 256;                    // 0: the prompt alone, for its log-probabilities
  std::vector<int32_t> stop_tokens = {};       // beside the model's EOS tokens
  std::vector<std::string> stop_strings = {};  // the answer ends before the first of them
  bool ignore_eos = false;                     // EOS tokens are tokens like others
  // Log-probabilities of the tokens of the answer: of the model itself, before penalties, bias and
  // temperature. `top_log_probabilities`: how many of the most likely tokens are listed beside
  // each.
  bool log_probabilities = false;
  bool prompt_log_probabilities = false;       // those of the prompt's tokens, too,
  int64_t prompt_log_probabilities_begin = 0;  // from this one on
  int64_t top_log_probabilities = 0;
  std::optional<std::chrono::steady_clock::time_point> deadline = {};
};

// A token and how likely the model found it.
struct TokenLogProbability {
  struct Alternative {
    int32_t token = 0;
    double log_probability = 0;
  };
  int32_t token = 0;
  double log_probability = 0;  // natural logarithm; the first token of a prompt has none: NaN
  std::vector<Alternative> top = {};  // the most likely ones, best first
};

// What a step adds to an answer.
struct Delta {
  // Whole UTF-8 characters. It may lag behind the tokens: what could be the beginning of a stop
  // string or of a character is held back.
  std::string text = {};
  std::vector<int32_t> tokens = {};
  // Of `tokens`, if asked for; with those of the prompt also that of the token that stops.
  std::vector<TokenLogProbability> log_probabilities = {};
  std::vector<TokenLogProbability> prompt_log_probabilities =
      {};  // all, once, before the first token
};

enum class FinishReason {
  kStopToken,
  kStopString,
  kMaxTokens,
  kContextFull,
  kCancelled,
  kDeadline,
  kError,  // of this request alone, e.g. logits that are NaN
};

struct Finish {
  FinishReason reason = FinishReason::kMaxTokens;
  std::string error = {};  // of kError: one line
  int64_t prompt_tokens = 0;
  int64_t cached_tokens = 0;  // of the prompt, that the prefix cache had
  int64_t completion_tokens = 0;
  double queue_seconds = 0;   // before its first step
  double prompt_seconds = 0;  // from there to the first token
  double decode_seconds = 0;  // from there to the end
};

// Who receives an answer. Called from the thread that drives the engine, which waits for it: it has
// to be quick, and must not throw.
class Sink {
 public:
  virtual ~Sink() = default;
  virtual void OnDelta(Delta delta) = 0;
  virtual void OnFinish(const Finish& finish) = 0;  // once, the last call
};

}  // namespace fptq
