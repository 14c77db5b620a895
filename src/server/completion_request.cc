#include <fmt/format.h>

#include <limits>

#include "server/request_fields.h"

namespace fptq {
namespace {

constexpr KnownField kFields[] = {
    {"prompt"},
    {"max_tokens"},
    {"echo"},
    {"logprobs"},
    {"add_special_tokens"},
    {"suffix", "answers go on after the prompt alone"},
    {"prompt_embeds", "prompts are texts or tokens"},
};

constexpr int64_t kDefaultMaxTokens = 16;  // as OpenAI has it

struct Prompts {
  std::vector<std::vector<int32_t>> tokens;
  std::vector<std::string> texts;
};

class PromptReader {
 public:
  PromptReader(const ApiContext& context, bool add_prefix, bool want_texts)
      : context_(context), add_prefix_(add_prefix), want_texts_(want_texts) {}

  // A text, an array of texts, an array of tokens, or an array of arrays of tokens.
  Prompts Read(const Json& prompt) {
    if (prompt.is_string()) {
      AddText(prompt, "prompt");
    } else if (!prompt.is_array() || prompt.empty()) {
      BodyFields::Refuse("prompt", "a string, or an array of strings or tokens", prompt);
    } else if (prompt.front().is_number()) {
      AddTokens(prompt, "prompt");
    } else {
      AddAll(prompt);
    }
    return std::move(result_);
  }

 private:
  void AddAll(const Json& prompts) {
    if (std::ssize(prompts) > context_.max_sequences) {
      throw ApiError(400,
                     fmt::format("'prompt': expected at most {} prompts, found {}",
                                 context_.max_sequences, prompts.size()),
                     "prompt", "invalid_value");
    }
    const bool texts = prompts.front().is_string();
    for (size_t i = 0; i < prompts.size(); ++i) {
      const std::string name = fmt::format("prompt[{}]", i);
      const Json& value = prompts[i];
      if (texts ? !value.is_string() : !value.is_array()) {
        BodyFields::Refuse(name, texts ? "a string" : "an array of tokens", value);
      }
      texts ? AddText(value, name) : AddTokens(value, name);
    }
  }
  void AddText(const Json& value, std::string_view name) {
    const std::string& text = value.get_ref<const std::string&>();
    Add(context_.tokenizer->Encode(text, {.parse_special = true, .add_prefix = add_prefix_}), name);
    if (want_texts_) result_.texts.push_back(text);
  }
  void AddTokens(const Json& value, std::string_view name) {
    Add(ReadTokens(value, name, context_), name);
    if (want_texts_) {
      result_.texts.push_back(
          context_.tokenizer->Decode(result_.tokens.back(), /*skip_special=*/true));
    }
  }
  void Add(std::vector<int32_t> tokens, std::string_view name) {
    CheckPrompt(tokens, name, context_);
    result_.tokens.push_back(std::move(tokens));
  }

  const ApiContext& context_;
  bool add_prefix_, want_texts_;
  Prompts result_;
};

}  // namespace

std::vector<std::span<const KnownField>> CompletionFields() { return {kFields, CommonFields()}; }

AnswerCall ParseCompletion(const Json& body, const ApiContext& context, uint64_t random_seed) {
  const BodyFields fields(body, CompletionFields());
  AnswerCall call;
  call.kind = AnswerKind::kCompletion;
  ReadCommonFields(fields, context, random_seed, call);
  Request& request = call.request;
  request.max_tokens =
      fields.IntOr("max_tokens", kDefaultMaxTokens, 0, std::numeric_limits<int32_t>::max());
  call.echo = fields.BoolOr("echo", false);
  call.log_probabilities = fields.Has("logprobs");
  request.log_probabilities = call.log_probabilities;
  request.prompt_log_probabilities = call.log_probabilities && call.echo;
  request.top_log_probabilities = fields.IntOr("logprobs", 0, 0, kMaxTopLogProbabilities);
  const Json* prompt = fields.Find("prompt");
  if (prompt == nullptr) {
    throw ApiError(400, "'prompt' is missing", "prompt", "missing_required_parameter");
  }
  PromptReader reader(context, fields.BoolOr("add_special_tokens", true), call.echo);
  Prompts prompts = reader.Read(*prompt);
  if (std::ssize(prompts.tokens) * call.n > context.max_sequences) {
    throw ApiError(400,
                   fmt::format("'n': expected at most {} answers to all prompts together, found {}",
                               context.max_sequences, std::ssize(prompts.tokens) * call.n),
                   "n", "invalid_value");
  }
  call.prompt_texts = std::move(prompts.texts);
  call.prompts = std::move(prompts.tokens);
  return call;
}

Request AnswerCall::ChoiceRequest(int64_t choice) const {
  Request result = request;
  result.prompt = prompts[static_cast<size_t>(choice / n)];
  result.sampling.seed += static_cast<uint64_t>(choice % n);
  return result;
}

}  // namespace fptq
