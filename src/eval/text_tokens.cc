#include "eval/text_tokens.h"

#include <algorithm>

#include "base/error.h"

namespace fptq {

std::vector<int32_t> TextTokens(const Tokenizer& tokenizer, std::string_view text, int64_t limit) {
  if (limit < 0) throw Error("tokens: expected 0 or more, found {}", limit);
  auto tokens = tokenizer.Encode(text, {.parse_special = false, .add_prefix = false});
  if (limit > 0 && limit < std::ssize(tokens)) tokens.resize(static_cast<size_t>(limit));
  return tokens;
}

std::vector<int32_t> CommonTokens(const NamedModel& a, const NamedModel& b, std::string_view text,
                                  int64_t limit) {
  const Tokenizer &first = a.model.tokenizer, &second = b.model.tokenizer;
  std::vector<int32_t> tokens = TextTokens(first, text, limit);
  if (!std::ranges::equal(first.prefix(), second.prefix()) ||
      TextTokens(second, text, limit) != tokens) {
    throw Error("{} and {} do not split the text into the same tokens", a.name, b.name);
  }
  return tokens;
}

}  // namespace fptq
