// The strings of templates: sequences of Unicode code points, as in Python, that know who wrote
// each character.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "text/passage.h"

namespace fptq::jinja {

// Who wrote a character goes where the character goes: through slices, trims, joins and every other
// operation.
// A char32_t of a Text has the code point in its lower bits and the origin in its upper ones.
constexpr char32_t kCodePointMask = 0x1fffff;
constexpr int kOriginShift = 24;

constexpr char32_t CodePoint(char32_t c) { return c & kCodePointMask; }
constexpr Origin OriginOf(char32_t c) { return static_cast<Origin>(c >> kOriginShift); }
constexpr char32_t Character(char32_t code_point, Origin origin) {
  return code_point | static_cast<char32_t>(origin) << kOriginShift;
}
// `code_point`, written by whoever wrote `c`.
constexpr char32_t SameOrigin(char32_t code_point, char32_t c) {
  return code_point | (c & ~kCodePointMask);
}

// Characters compare by their code points alone: where a text comes from changes no result.
struct CharTraits : std::char_traits<char32_t> {
  static constexpr bool eq(char32_t a, char32_t b) { return CodePoint(a) == CodePoint(b); }
  static constexpr bool lt(char32_t a, char32_t b) { return CodePoint(a) < CodePoint(b); }
  static constexpr int compare(const char32_t* a, const char32_t* b, size_t n) {
    for (size_t i = 0; i < n; ++i) {
      if (!eq(a[i], b[i])) return lt(a[i], b[i]) ? -1 : 1;
    }
    return 0;
  }
  static constexpr const char32_t* find(const char32_t* text, size_t n, const char32_t& c) {
    for (size_t i = 0; i < n; ++i) {
      if (eq(text[i], c)) return text + i;
    }
    return nullptr;
  }
};
using Text = std::basic_string<char32_t, CharTraits>;
using TextView = std::basic_string_view<char32_t, CharTraits>;

// Bytes that belong to no well-formed character are read as U+FFFD.
Text FromUtf8(std::string_view utf8, Origin origin = Origin::kTemplate);
// Appends the UTF-8 of `c`; U+FFFD for a surrogate.
void AppendUtf8(char32_t c, std::string& out);
std::string ToUtf8(TextView text);
// Whether `text` is `ascii`.
bool Equals(TextView text, std::string_view ascii);

}  // namespace fptq::jinja
