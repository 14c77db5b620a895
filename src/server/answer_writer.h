// The answer to a call of /v1/completions or /v1/chat/completions, from what the engine gives.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "server/api.h"
#include "server/log_probabilities.h"

namespace fptq {

// Collects the deltas of all choices, and writes them as chunks of a stream or as one response.
class AnswerWriter {
 public:
  struct Names {
    std::string id;       // without prefix
    int64_t created = 0;  // seconds since 1970
    std::string fingerprint;
  };
  AnswerWriter(const AnswerCall& call, Names names, const Tokenizer& tokenizer);

  // What is collected and not taken is held; returns how many bytes that adds. Log-probabilities
  // that the call did not ask for are dropped.
  int64_t Add(int64_t choice, Delta delta);
  void End(int64_t choice, const Finish& finish);

  bool ended() const { return ends_ == static_cast<int64_t>(choices_.size()); }
  // Why the engine gave up one of the choices, or cancelled it; empty: it did not.
  const std::string& error() const { return error_; }
  int64_t held_bytes() const { return held_; }

  // Stream: the events of what was added since the last call; whatever came in between is one chunk
  // for each choice, but for long lists of log-probabilities, of which a call gives a part. The
  // last events, once all choices have ended and nothing is left, are the usage, if it was asked
  // for, and [DONE]; then all_told().
  std::string TakeEvents();
  bool all_told() const { return done_; }
  // Otherwise: the response, once all choices have ended.
  std::string TakeResponse();

 private:
  struct Choice {
    std::string text;
    std::vector<TokenLogProbability> log_probabilities;
    std::optional<Finish> finish;
    std::optional<CompletionLogProbabilities> layout;
    bool begun = false, told_end = false;  // of a stream
  };

  Json Head(const char* object) const;
  Json Usage() const;
  Json Timings() const;
  Json TakeLogProbabilities(Choice& choice, size_t most);
  void AppendEvents(int64_t index, std::string& events);
  void AppendChunk(Json choices, std::string& events) const;

  AnswerKind kind_;
  int64_t n_;
  bool echo_, log_probabilities_, stream_, include_usage_;
  std::string model_;
  Names names_;
  TokenTexts texts_;
  std::vector<Choice> choices_;
  int64_t ends_ = 0, held_ = 0;
  bool done_ = false;
  std::string error_;
};

// An event of a stream.
std::string ServerSentEvent(std::string_view data);

}  // namespace fptq
