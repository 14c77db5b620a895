#include "text/unicode.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "base/error.h"

namespace fptq {
namespace {

// `*length` is set to the bytes of the first character of `text`.
int32_t FirstCodepoint(std::string_view text, size_t* length) {
  utf8proc_int32_t codepoint = -1;
  const utf8proc_ssize_t read =
      utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                       static_cast<utf8proc_ssize_t>(text.size()), &codepoint);
  FPTQ_CHECK(read > 0);
  *length = static_cast<size_t>(read);
  return codepoint;
}

bool IsWhitespace(int32_t c) {
  return (c >= 0x09 && c <= 0x0d) || c == 0x20 || c == 0x85 || c == 0xa0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f ||
         c == 0x3000;
}

// Canonical ordering: each run of combining marks, by combining class, equal ones as they stood.
// utf8proc_decompose orders by insertion, which is quadratic in a run's length.
void OrderMarks(std::vector<int32_t>& codepoints) {
  const auto combining_class = [](int32_t c) { return utf8proc_get_property(c)->combining_class; };
  const auto is_mark = [&](int32_t c) { return combining_class(c) != 0; };
  auto begin = codepoints.begin();
  while (begin != codepoints.end()) {
    begin = std::find_if(begin, codepoints.end(), is_mark);
    const auto end = std::find_if_not(begin, codepoints.end(), is_mark);
    std::stable_sort(begin, end,
                     [&](int32_t a, int32_t b) { return combining_class(a) < combining_class(b); });
    begin = end;
  }
}

}  // namespace

std::string Normalize(NormalForm form, std::string_view text) {
  const bool composed = form == NormalForm::kC || form == NormalForm::kKC;
  const bool compatible = form == NormalForm::kKC || form == NormalForm::kKD;
  // Below U+0080, for form C below U+0300 (lead byte CC), everything is its own normal form.
  const uint8_t first_changed = form == NormalForm::kC ? 0xcc : 0x80;
  const auto stays = [&](char c) { return static_cast<uint8_t>(c) < first_changed; };
  if (std::all_of(text.begin(), text.end(), stays)) return std::string(text);

  std::vector<int32_t> codepoints;
  codepoints.reserve(text.size());
  const auto decompose_option = static_cast<utf8proc_option_t>(
      UTF8PROC_DECOMPOSE | UTF8PROC_STABLE | (compatible ? UTF8PROC_COMPAT : 0));
  while (!text.empty()) {
    size_t length = 0;
    const int32_t codepoint = FirstCodepoint(text, &length);
    text.remove_prefix(length);
    constexpr int kLongest = 18;  // code points of the longest decomposition
    utf8proc_int32_t decomposed[kLongest];
    int boundary = 0;
    const utf8proc_ssize_t count =
        utf8proc_decompose_char(codepoint, decomposed, kLongest, decompose_option, &boundary);
    FPTQ_CHECK(count > 0 && count <= kLongest);
    codepoints.insert(codepoints.end(), decomposed, decomposed + count);
  }
  OrderMarks(codepoints);
  if (composed) {
    const utf8proc_ssize_t count = utf8proc_normalize_utf32(
        codepoints.data(), static_cast<utf8proc_ssize_t>(codepoints.size()),
        static_cast<utf8proc_option_t>(UTF8PROC_COMPOSE | UTF8PROC_STABLE));
    FPTQ_CHECK(count >= 0);
    codepoints.resize(static_cast<size_t>(count));
  }

  std::string out;
  for (const int32_t codepoint : codepoints) {
    utf8proc_uint8_t bytes[4];
    const utf8proc_ssize_t length = utf8proc_encode_char(codepoint, bytes);
    out.append(reinterpret_cast<const char*>(bytes), static_cast<size_t>(length));
  }
  return out;
}

void ForEachGrapheme(std::string_view text, FunctionRef<void(std::string_view)> found) {
  size_t begin = 0;
  int32_t before = 0;
  utf8proc_int32_t state = 0;
  size_t length = 0;
  for (size_t at = 0; at < text.size(); at += length) {
    const int32_t codepoint = FirstCodepoint(text.substr(at), &length);
    if (at > 0 && utf8proc_grapheme_break_stateful(before, codepoint, &state)) {
      found(text.substr(begin, at - begin));
      begin = at;
    }
    before = codepoint;
  }
  if (begin < text.size()) found(text.substr(begin));
}

size_t LeadingWhitespace(std::string_view text) {
  size_t total = 0;
  size_t length = 0;
  while (total < text.size() && IsWhitespace(FirstCodepoint(text.substr(total), &length))) {
    total += length;
  }
  return total;
}

size_t TrailingWhitespace(std::string_view text) {
  size_t total = 0;
  size_t length = 0;
  while (total < text.size()) {
    const std::string_view last = LastCharacter(text.substr(0, text.size() - total));
    if (!IsWhitespace(FirstCodepoint(last, &length))) break;
    total += length;
  }
  return total;
}

std::string_view LastCharacter(std::string_view text) {
  size_t begin = text.size() - 1;
  while (begin > 0 && (static_cast<uint8_t>(text[begin]) & 0xc0) == 0x80) --begin;
  return text.substr(begin);
}

}  // namespace fptq
