#include "base/utf8.h"

#include <cstdint>

namespace fptq {

int Utf8CharLength(std::string_view text) {
  if (text.empty()) return 0;
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const auto in = [](uint8_t value, int low, int high) { return value >= low && value <= high; };
  const uint8_t lead = byte(0);
  if (lead < 0x80) return 1;
  const int length = in(lead, 0xc2, 0xdf)   ? 2
                     : in(lead, 0xe0, 0xef) ? 3
                     : in(lead, 0xf0, 0xf4) ? 4
                                            : 0;
  if (length == 0 || text.size() < static_cast<size_t>(length)) return 0;
  // The second byte excludes overlong forms, surrogates and what is beyond U+10FFFF.
  const int low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
  const int high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
  if (!in(byte(1), low, high)) return 0;
  for (int i = 2; i < length; ++i) {
    if (!in(byte(static_cast<size_t>(i)), 0x80, 0xbf)) return 0;
  }
  return length;
}

std::string ReplaceIllFormedUtf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const int length = Utf8CharLength(text);
    if (length == 0) {
      out += "\xef\xbf\xbd";
    } else {
      out += text.substr(0, static_cast<size_t>(length));
    }
    text.remove_prefix(length == 0 ? 1 : static_cast<size_t>(length));
  }
  return out;
}

}  // namespace fptq
