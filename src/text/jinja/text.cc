#include "text/jinja/text.h"

#include <algorithm>

#include "base/utf8.h"

namespace fptq::jinja {

Text FromUtf8(std::string_view utf8, Origin origin) {
  constexpr char32_t kReplacement = 0xfffd;
  Text text;
  text.reserve(utf8.size());
  while (!utf8.empty()) {
    const int length = Utf8CharLength(utf8);
    const auto byte = [&](int i) { return static_cast<uint8_t>(utf8[static_cast<size_t>(i)]); };
    char32_t code_point = kReplacement;
    if (length == 1) code_point = byte(0);
    if (length > 1) {
      code_point = byte(0) & (0xffu >> (length + 1));
      for (int i = 1; i < length; ++i) code_point = code_point << 6 | (byte(i) & 0x3fu);
    }
    text += Character(code_point, origin);
    utf8.remove_prefix(length == 0 ? 1 : static_cast<size_t>(length));
  }
  return text;
}

void AppendUtf8(char32_t c, std::string& out) {
  char32_t code_point = CodePoint(c);
  if ((code_point >= 0xd800 && code_point <= 0xdfff) || code_point > 0x10ffff) code_point = 0xfffd;
  const auto tail = [&](int shift) {
    out += static_cast<char>(0x80 | (code_point >> shift & 0x3f));
  };
  if (code_point < 0x80) {
    out += static_cast<char>(code_point);
  } else if (code_point < 0x800) {
    out += static_cast<char>(0xc0 | code_point >> 6);
    tail(0);
  } else if (code_point < 0x10000) {
    out += static_cast<char>(0xe0 | code_point >> 12);
    tail(6);
    tail(0);
  } else {
    out += static_cast<char>(0xf0 | code_point >> 18);
    tail(12);
    tail(6);
    tail(0);
  }
}

std::string ToUtf8(TextView text) {
  std::string out;
  out.reserve(text.size());
  for (const char32_t c : text) AppendUtf8(c, out);
  return out;
}

bool Equals(TextView text, std::string_view ascii) {
  return std::equal(text.begin(), text.end(), ascii.begin(), ascii.end(),
                    [](char32_t a, char b) { return CodePoint(a) == static_cast<uint8_t>(b); });
}

}  // namespace fptq::jinja
