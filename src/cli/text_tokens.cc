#include "cli/text_tokens.h"

#include <string_view>

#include "base/mapped_file.h"

namespace fptq {

std::vector<int32_t> ReadTokens(const Tokenizer& tokenizer, const std::string& path,
                                int64_t limit) {
  const MappedFile file(path);
  const std::string_view text(reinterpret_cast<const char*>(file.bytes().data()),
                              file.bytes().size());
  auto tokens = tokenizer.Encode(text, {.parse_special = false, .add_special_tokens = false});
  if (limit > 0 && limit < std::ssize(tokens)) tokens.resize(static_cast<size_t>(limit));
  return tokens;
}

}  // namespace fptq
