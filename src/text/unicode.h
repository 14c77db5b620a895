// What tokenizers need of Unicode beyond regular expressions.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace fptq {

// Normalization form C of well-formed UTF-8, in O(n log n) whatever the text.
std::string NormalizeNfc(std::string_view text);

// Bytes of the white space (property White_Space) that `text` starts or ends with.
size_t LeadingWhitespace(std::string_view text);
size_t TrailingWhitespace(std::string_view text);

// The last character of well-formed `text`, which is not empty.
std::string_view LastCharacter(std::string_view text);

}  // namespace fptq
