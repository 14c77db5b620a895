// Well-formed UTF-8.
#pragma once

#include <string>
#include <string_view>

namespace fptq {

// The length of the well-formed UTF-8 character (Unicode 15, table 3-7) that `text` starts with; 0
// if there is none.
int Utf8CharLength(std::string_view text);

// `text` with U+FFFD for every byte that belongs to no well-formed character.
std::string ReplaceIllFormedUtf8(std::string_view text);

}  // namespace fptq
