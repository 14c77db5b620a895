// What requests say: from the bodies of OpenAI's API to requests of the engine. Pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/request.h"
#include "server/body_fields.h"
#include "text/chat_format.h"
#include "text/tokenizer.h"

namespace fptq {

// What the requests are checked against. All that it points to must outlive it.
struct ApiContext {
  const Tokenizer* tokenizer = nullptr;
  const ChatFormat* chat_format = nullptr;  // null: the model cannot chat
  int64_t context = 0;                      // tokens of prompt and answer together
  std::vector<std::string> model_names;     // the first is what responses say
  int64_t max_sequences = 1;                // most answers that one request may ask for
  double max_seconds = 0;                   // most time that a request may take; 0: any
};

// Most of what a request may list.
inline constexpr int64_t kMaxChoices = 128;
inline constexpr int64_t kMaxTopLogProbabilities = 20;
inline constexpr size_t kMaxStopStrings = 16, kMaxStopStringBytes = 1024, kMaxStopTokens = 128;
// Of logit_bias and allowed_token_ids, which each choice has a copy of.
inline constexpr size_t kMaxListedTokens = 4096;

enum class AnswerKind { kCompletion, kChat };

// A call of /v1/completions or /v1/chat/completions, checked. Choice i of its answer is number
// i % n of prompt i / n; the answers to a prompt differ by their seed alone.
struct AnswerCall {
  AnswerKind kind = AnswerKind::kCompletion;
  Request request;  // of each choice, but for its prompt and its seed
  std::vector<std::vector<int32_t>> prompts;
  std::vector<std::string> prompt_texts;  // of each prompt, if `echo`
  int64_t n = 1;
  bool echo = false;
  bool log_probabilities = false;
  bool tokens_as_ids = false;  // tokens of log-probabilities read "token_id:7"
  bool stream = false;
  bool include_usage = false;  // of a stream, in a chunk of its own
  double timeout_seconds = 0;  // 0: none
  std::string model;           // as asked for

  int64_t choices() const { return static_cast<int64_t>(prompts.size()) * n; }
  // The engine's request for a choice.
  Request ChoiceRequest(int64_t choice) const;
};

// Each takes a body and throws an ApiError for what is wrong with it. `random_seed` is taken where
// a request names none.
AnswerCall ParseCompletion(const Json& body, const ApiContext& context, uint64_t random_seed);
AnswerCall ParseChat(const Json& body, const ApiContext& context, uint64_t random_seed);

// What /tokenize and /detokenize answer.
Json Tokenize(const Json& body, const ApiContext& context);
Json Detokenize(const Json& body, const ApiContext& context);

// The tables of fields, for openapi.json to be held against.
std::vector<std::span<const KnownField>> CompletionFields();
std::vector<std::span<const KnownField>> ChatFields();
std::vector<std::span<const KnownField>> TokenizeFields();
std::vector<std::span<const KnownField>> DetokenizeFields();

// Error 404 if `model`, unless empty, is none of the names.
void CheckModelName(const std::string& model, const ApiContext& context);

}  // namespace fptq
