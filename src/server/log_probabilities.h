// Log-probabilities of tokens in the two layouts of OpenAI's API.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "base/json.h"
#include "engine/request.h"
#include "text/tokenizer.h"

namespace fptq {

// How tokens are written as text.
struct TokenTexts {
  const Tokenizer* tokenizer = nullptr;  // must outlive it
  bool as_ids = false;                   // "token_id:7"

  // A token that is a part of a character: with U+FFFD, or as "bytes:\xe2\x82".
  std::string WithReplacement(int32_t token) const;
  std::string WithBytes(int32_t token) const;
};

// The layout of /v1/completions: parallel arrays. One for each choice: offsets go on from one part
// of its answer to the next.
class CompletionLogProbabilities {
 public:
  explicit CompletionLogProbabilities(TokenTexts texts)
      : texts_(texts), spaces_to_strip_(texts.tokenizer->stripped_spaces()) {}

  // {"tokens", "token_logprobs", "top_logprobs", "text_offset"}. The token itself is among the top
  // ones, whatever it was found to be. Offsets count characters from the beginning of the choice's
  // text; the first token of a prompt has nulls.
  Json Next(std::span<const TokenLogProbability> tokens);

 private:
  void Advance(int32_t token);

  TokenTexts texts_;
  size_t spaces_to_strip_;
  int64_t offset_ = 0;
};

// The layout of /v1/chat/completions: {"content": [{"token", "logprob", "bytes", "top_logprobs"}]}.
Json ChatLogProbabilities(std::span<const TokenLogProbability> tokens, const TokenTexts& texts);

}  // namespace fptq
