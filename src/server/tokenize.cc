#include <fmt/format.h>

#include "base/utf8.h"
#include "server/request_fields.h"

namespace fptq {
namespace {

constexpr KnownField kTokenizeFields[] = {
    {"model"}, {"prompt"}, {"add_special_tokens"}, {"return_token_strs"}};
constexpr KnownField kDetokenizeFields[] = {{"model"}, {"tokens"}};

}  // namespace

std::vector<std::span<const KnownField>> TokenizeFields() {
  return {kTokenizeFields, ConversationFields()};
}
std::vector<std::span<const KnownField>> DetokenizeFields() { return {kDetokenizeFields}; }

Json Tokenize(const Json& body, const ApiContext& context) {
  const BodyFields fields(body, TokenizeFields());
  CheckModelName(fields.StringOr("model", ""), context);
  const bool add_prefix = fields.BoolOr("add_special_tokens", true);
  const bool want_texts = fields.BoolOr("return_token_strs", false);
  if (fields.Has("prompt") == fields.Has("messages")) {
    throw ApiError(400, "expected either 'prompt' or 'messages'", "prompt",
                   "missing_required_parameter");
  }
  for (const KnownField& field : ConversationFields()) {
    if (fields.Has("prompt") && fields.Has(field.name) && field.refusal.empty()) {
      throw ApiError(400, fmt::format("'{}' goes with 'messages' alone", field.name),
                     std::string(field.name), "unsupported_parameter");
    }
  }
  const std::vector<int32_t> tokens =
      fields.Has("messages")
          ? EncodeConversation(ReadConversation(fields), context)
          : context.tokenizer->Encode(fields.StringOr("prompt", ""),
                                      {.parse_special = true, .add_prefix = add_prefix});
  Json texts = nullptr;
  if (want_texts) {
    texts = Json::array();
    for (const int32_t token : tokens) {
      texts.push_back(ReplaceIllFormedUtf8(context.tokenizer->TokenBytes(token)));
    }
  }
  return {{"count", tokens.size()},
          {"max_model_len", context.context},
          {"tokens", tokens},
          {"token_strs", std::move(texts)}};
}

Json Detokenize(const Json& body, const ApiContext& context) {
  const BodyFields fields(body, DetokenizeFields());
  CheckModelName(fields.StringOr("model", ""), context);
  const Json* tokens = fields.Array("tokens");
  if (tokens == nullptr) {
    throw ApiError(400, "'tokens' is missing", "tokens", "missing_required_parameter");
  }
  return {{"prompt", context.tokenizer->Decode(ReadTokens(*tokens, "tokens", context),
                                               /*skip_special=*/false)}};
}

}  // namespace fptq
