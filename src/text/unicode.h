// What tokenizers need of Unicode beyond regular expressions.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "base/thread_pool.h"

namespace fptq {

// Unicode's normalization forms: composed or decomposed, canonical or (K) by compatibility.
enum class NormalForm { kC, kD, kKC, kKD };

// That form of well-formed UTF-8, in O(n log n) whatever the text.
std::string Normalize(NormalForm form, std::string_view text);

// Calls found(g) for the extended grapheme clusters of well-formed UTF-8 in order.
void ForEachGrapheme(std::string_view text, FunctionRef<void(std::string_view)> found);

// Bytes of the white space (property White_Space) that `text` starts or ends with.
size_t LeadingWhitespace(std::string_view text);
size_t TrailingWhitespace(std::string_view text);

// The last character of well-formed `text`, which is not empty.
std::string_view LastCharacter(std::string_view text);

}  // namespace fptq
