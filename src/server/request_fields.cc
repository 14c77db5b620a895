#include "server/request_fields.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <limits>
#include <map>

namespace fptq {
namespace {

constexpr double kLongestSeconds = 86'400;

constexpr KnownField kCommonFields[] = {
    {"model"},
    {"n"},
    {"stream"},
    {"stream_options"},
    {"temperature"},
    {"top_p"},
    {"top_k"},
    {"min_p"},
    {"repetition_penalty"},
    {"presence_penalty"},
    {"frequency_penalty"},
    {"logit_bias"},
    {"allowed_token_ids"},
    {"seed"},
    {"stop"},
    {"stop_token_ids"},
    {"ignore_eos"},
    {"return_tokens_as_token_ids"},
    {"timeout_seconds"},
    {"skip_special_tokens"},
    // These say something about the request, or how to compute the same.
    {"user"},
    {"metadata"},
    {"store"},
    {"service_tier"},
    {"safety_identifier"},
    {"prompt_cache_key"},
    {"prompt_cache_retention"},
    {"prediction"},
    {"request_id"},
    {"priority"},
    {"cache_prompt"},
    {"spaces_between_special_tokens"},
    {"response_format"},  // of which text is supported
    // These would change the answer.
    {"best_of"},  // other than n
    {"use_beam_search", "answers are sampled"},
    {"length_penalty", "it belongs to beam search", 1},
    {"early_stopping", "it belongs to beam search"},
    {"min_tokens"},  // where nothing but max_tokens can end the answer
    {"bad_words", "see logit_bias"},
    {"include_stop_str_in_output", "an answer ends before its stop string"},
    {"truncate_prompt_tokens", "prompts are not cut"},
    {"prompt_logprobs", "use echo and logprobs of /v1/completions"},
    {"guided_json", "answers follow no schema"},
    {"guided_regex", "answers follow no pattern"},
    {"guided_choice", "answers follow no list"},
    {"guided_grammar", "answers follow no grammar"},
    {"structured_outputs", "answers follow no schema"},
    {"grammar", "answers follow no grammar"},
    {"json_schema", "answers follow no schema"},
    {"typical_p", "see top_p, top_k and min_p", 1},
    {"mirostat", "see top_p, top_k and min_p"},
    // Names that llama.cpp's own endpoints have for what has another name here.
    {"n_predict", "see max_tokens"},
    {"n_probs", "see logprobs"},
    {"repeat_penalty", "see repetition_penalty", 1},
};

std::vector<std::string> ReadStopStrings(const BodyFields& fields) {
  const Json* stop = fields.Find("stop");
  std::vector<std::string> strings;
  if (stop == nullptr) return strings;
  const auto add = [&](const Json& value) {
    if (!value.is_string()) BodyFields::Refuse("stop", "a string or an array of strings", value);
    const std::string& string = value.get_ref<const std::string&>();
    if (string.empty() || string.size() > kMaxStopStringBytes) {
      BodyFields::Refuse("stop", fmt::format("strings of 1 to {} bytes", kMaxStopStringBytes),
                         value);
    }
    strings.push_back(string);
  };
  if (!stop->is_array()) {
    add(*stop);
    return strings;
  }
  CheckLength(*stop, "stop", kMaxStopStrings);
  for (const Json& value : *stop) add(value);
  return strings;
}

int32_t ToToken(const Json& value, std::string_view name, const ApiContext& context) {
  const int64_t id = ToInt(value, name, 0, std::numeric_limits<int32_t>::max());
  if (!context.tokenizer->Contains(static_cast<int32_t>(id))) {
    throw ApiError(400, fmt::format("'{}': the model has no token {}", name, id), std::string(name),
                   "invalid_value");
  }
  return static_cast<int32_t>(id);
}

std::vector<LogitBias> ReadLogitBias(const BodyFields& fields, const ApiContext& context) {
  constexpr double kMost = 100;
  const Json* object = fields.Object("logit_bias");
  if (object == nullptr) return {};
  CheckLength(*object, "logit_bias", kMaxListedTokens);
  std::map<int32_t, double> by_token;  // "7" and "07" are one token
  for (const auto& [key, value] : object->items()) {
    int32_t id = -1;
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
    if (error != std::errc() || end != key.data() + key.size()) {
      BodyFields::Refuse("logit_bias", "names that are the ids of tokens", Json(key));
    }
    const int32_t token = ToToken(id, "logit_bias", context);
    const double bias = value.is_number() ? value.get<double>() : kMost + 1;
    if (!(bias >= -kMost && bias <= kMost)) {
      BodyFields::Refuse("logit_bias", "numbers from -100 to 100", value);
    }
    by_token[token] = bias;
  }
  std::vector<LogitBias> result;
  for (const auto& [token, bias] : by_token) result.push_back({token, bias});
  return result;
}

SamplerOptions ReadSampling(const BodyFields& fields, const ApiContext& context,
                            uint64_t random_seed) {
  SamplerOptions s;
  s.temperature = fields.NumberOr("temperature", 1, 0, 100);
  s.top_p = fields.NumberOr("top_p", 1, 0, 1);
  s.top_k = std::max<int64_t>(fields.IntOr("top_k", 0, -1, std::numeric_limits<int32_t>::max()),
                              0);  // -1: all, too
  s.min_p = fields.NumberOr("min_p", 0, 0, 1);
  s.repeat_penalty = fields.NumberOr("repetition_penalty", 1, 0.01, 100);
  s.repeat_window = context.context;  // as vLLM has it: all of the prompt and of the answer
  s.presence_penalty = fields.NumberOr("presence_penalty", 0, -2, 2);
  s.frequency_penalty = fields.NumberOr("frequency_penalty", 0, -2, 2);
  s.logit_bias = ReadLogitBias(fields, context);
  if (const Json* allowed = fields.Array("allowed_token_ids")) {
    CheckLength(*allowed, "allowed_token_ids", kMaxListedTokens);
    s.allowed_tokens = ReadTokens(*allowed, "allowed_token_ids", context);
    std::ranges::sort(s.allowed_tokens);
    const auto twice = std::ranges::unique(s.allowed_tokens);
    s.allowed_tokens.erase(twice.begin(), twice.end());
  }
  s.seed = random_seed;
  if (fields.Has("seed")) {
    using Limits = std::numeric_limits<int64_t>;
    s.seed = static_cast<uint64_t>(fields.IntOr("seed", 0, Limits::min(), Limits::max()));
  }
  return s;
}

void RefuseUnsupportedValues(const BodyFields& fields, int64_t n) {
  if (fields.IntOr("best_of", n, 1, kMaxChoices) != n) {
    throw ApiError(400, "'best_of': no more answers are made than 'n' asks for", "best_of",
                   "unsupported_parameter");
  }
  if (!fields.BoolOr("skip_special_tokens", true)) {
    throw ApiError(400, "'skip_special_tokens' is not supported: answers have no special tokens",
                   "skip_special_tokens", "unsupported_parameter");
  }
  const Json* format = fields.Object("response_format");
  if (format != nullptr && (!format->contains("type") || format->at("type") != "text")) {
    throw ApiError(400, "'response_format': only {\"type\": \"text\"} is supported",
                   "response_format", "unsupported_parameter");
  }
}

void ReadStreamOptions(const BodyFields& fields, AnswerCall& call) {
  call.stream = fields.BoolOr("stream", false);
  const Json* options = fields.Object("stream_options");
  if (options == nullptr) return;
  // continuous_usage_stats is vLLM's; include_obfuscation pads chunks, which nobody needs here.
  static constexpr KnownField kOptions[] = {
      {"include_usage"},
      {"include_obfuscation"},
      {"continuous_usage_stats", "usage comes in the last chunk"}};
  const std::span<const KnownField> tables[] = {kOptions};
  call.include_usage = BodyFields(*options, tables).BoolOr("include_usage", false);
}

}  // namespace

std::span<const KnownField> CommonFields() { return kCommonFields; }

void CheckModelName(const std::string& model, const ApiContext& context) {
  if (model.empty() || std::ranges::find(context.model_names, model) != context.model_names.end()) {
    return;
  }
  throw ApiError(404,
                 fmt::format("there is no model of this name; this server has '{}'",
                             context.model_names.front()),
                 "model", "model_not_found");
}

void ReadCommonFields(const BodyFields& fields, const ApiContext& context, uint64_t random_seed,
                      AnswerCall& call) {
  call.model = fields.StringOr("model", context.model_names.front());
  CheckModelName(call.model, context);
  call.n = fields.IntOr("n", 1, 1, kMaxChoices);
  RefuseUnsupportedValues(fields, call.n);
  ReadStreamOptions(fields, call);
  call.tokens_as_ids = fields.BoolOr("return_tokens_as_token_ids", false);
  call.timeout_seconds = fields.NumberOr("timeout_seconds", 0, 0, kLongestSeconds);
  if (context.max_seconds > 0 &&
      (call.timeout_seconds == 0 || call.timeout_seconds > context.max_seconds)) {
    call.timeout_seconds = context.max_seconds;
  }
  Request& request = call.request;
  request.sampling = ReadSampling(fields, context, random_seed);
  request.stop_strings = ReadStopStrings(fields);
  if (const Json* tokens = fields.Array("stop_token_ids")) {
    CheckLength(*tokens, "stop_token_ids", kMaxStopTokens);
    request.stop_tokens = ReadTokens(*tokens, "stop_token_ids", context);
  }
  request.ignore_eos = fields.BoolOr("ignore_eos", false);
  const bool may_end_early =
      !request.ignore_eos || !request.stop_strings.empty() || !request.stop_tokens.empty();
  constexpr int64_t kAny = std::numeric_limits<int32_t>::max();
  if (fields.IntOr("min_tokens", 0, 0, kAny) > 0 && may_end_early) {
    throw ApiError(400, "'min_tokens' is supported with 'ignore_eos' and without stops alone",
                   "min_tokens", "unsupported_parameter");
  }
}

std::vector<int32_t> ReadTokens(const Json& array, std::string_view name,
                                const ApiContext& context) {
  std::vector<int32_t> tokens;
  tokens.reserve(array.size());
  for (const Json& value : array) tokens.push_back(ToToken(value, name, context));
  return tokens;
}

void CheckLength(const Json& list, std::string_view name, size_t most) {
  if (list.size() <= most) return;
  throw ApiError(400,
                 fmt::format("'{}': expected at most {} values, found {}", name, most, list.size()),
                 std::string(name), "invalid_value");
}

void CheckPrompt(std::span<const int32_t> prompt, std::string_view name,
                 const ApiContext& context) {
  if (prompt.empty()) {
    throw ApiError(400, fmt::format("'{}': expected at least one token, found none", name),
                   std::string(name), "invalid_value");
  }
  if (std::ssize(prompt) > context.context) {
    throw ApiError(400,
                   fmt::format("'{}': the context has {} tokens, and the prompt alone has {}", name,
                               context.context, prompt.size()),
                   std::string(name), "context_length_exceeded");
  }
}

}  // namespace fptq
