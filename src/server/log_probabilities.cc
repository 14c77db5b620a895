#include "server/log_probabilities.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/utf8.h"

namespace fptq {
namespace {

// JSON has no infinity; this is what others write for a token that cannot come.
constexpr double kLeast = -9999;

Json Number(double log_probability) {
  if (std::isnan(log_probability)) return nullptr;
  return std::max(log_probability, kLeast);
}

Json Bytes(std::string_view text) {
  Json bytes = Json::array();
  for (const char c : text) bytes.push_back(static_cast<uint8_t>(c));
  return bytes;
}

// Two tokens may have the same text; then the better one counts, which comes first.
Json TopByText(const TokenLogProbability& token, const TokenTexts& texts) {
  Json top = Json::object();
  const auto add = [&](int32_t id, double log_probability) {
    const std::string text = texts.WithBytes(id);
    const auto it = top.find(text);
    if (it == top.end()) {
      top[text] = Number(log_probability);
    } else if (it->get<double>() < log_probability) {
      *it = log_probability;
    }
  };
  for (const auto& other : token.top) add(other.token, other.log_probability);
  add(token.token, token.log_probability);
  return top;
}

Json ChatToken(int32_t token, double log_probability, const TokenTexts& texts) {
  return {{"token", texts.WithReplacement(token)},
          {"logprob", Number(log_probability)},
          {"bytes", Bytes(texts.tokenizer->TokenBytes(token))}};
}

}  // namespace

std::string TokenTexts::WithReplacement(int32_t token) const {
  if (as_ids) return fmt::format("token_id:{}", token);
  return ReplaceIllFormedUtf8(tokenizer->TokenBytes(token));
}

std::string TokenTexts::WithBytes(int32_t token) const {
  if (as_ids) return fmt::format("token_id:{}", token);
  const std::string_view bytes = tokenizer->TokenBytes(token);
  std::string text = ReplaceIllFormedUtf8(bytes);
  if (text == bytes) return text;
  text = "bytes:";
  for (const char c : bytes) text += fmt::format("\\x{:02x}", static_cast<uint8_t>(c));
  return text;
}

Json CompletionLogProbabilities::Next(std::span<const TokenLogProbability> tokens) {
  Json texts = Json::array(), own = Json::array(), top = Json::array(), offsets = Json::array();
  for (const TokenLogProbability& token : tokens) {
    texts.push_back(texts_.WithBytes(token.token));
    own.push_back(Number(token.log_probability));
    top.push_back(std::isnan(token.log_probability) ? Json(nullptr) : TopByText(token, texts_));
    offsets.push_back(offset_);
    Advance(token.token);
  }
  return {{"tokens", std::move(texts)},
          {"token_logprobs", std::move(own)},
          {"top_logprobs", std::move(top)},
          {"text_offset", std::move(offsets)}};
}

// Special tokens are not in the text, nor are the spaces that the tokenizer strips before it. A
// character counts at its first byte.
void CompletionLogProbabilities::Advance(int32_t token) {
  if (texts_.tokenizer->IsSpecial(token)) return;
  for (const char c : texts_.tokenizer->TokenBytes(token)) {
    if (spaces_to_strip_ > 0 && c == ' ') {
      --spaces_to_strip_;
      continue;
    }
    spaces_to_strip_ = 0;
    if ((static_cast<uint8_t>(c) & 0xc0) != 0x80) ++offset_;
  }
}

Json ChatLogProbabilities(std::span<const TokenLogProbability> tokens, const TokenTexts& texts) {
  Json content = Json::array();
  for (const TokenLogProbability& token : tokens) {
    Json entry = ChatToken(token.token, token.log_probability, texts);
    Json& top = entry["top_logprobs"] = Json::array();
    for (const auto& other : token.top) {
      top.push_back(ChatToken(other.token, other.log_probability, texts));
    }
    content.push_back(std::move(entry));
  }
  return {{"content", std::move(content)}, {"refusal", nullptr}};
}

}  // namespace fptq
