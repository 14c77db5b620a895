#include "cli/text_tokens.h"

#include "base/text_file.h"

namespace fptq {

std::vector<int32_t> ReadTokens(const Tokenizer& tokenizer, const std::string& path,
                                int64_t limit) {
  const TextFile file(path);
  auto tokens = tokenizer.Encode(file.text(), {.parse_special = false, .add_prefix = false});
  if (limit > 0 && limit < std::ssize(tokens)) tokens.resize(static_cast<size_t>(limit));
  return tokens;
}

}  // namespace fptq
