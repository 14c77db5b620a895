#include "text/character_map.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "base/utf8.h"
#include "text/unicode.h"

namespace fptq {
namespace {

constexpr std::string_view kBase64 =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

// A unit of the double array: where the children of its node lie, relative to it; whether a value
// lies there as a child; the byte that leads to the node.
size_t Offset(uint32_t unit) { return size_t{unit >> 10} << ((unit & (1u << 9)) >> 6); }
bool HasValue(uint32_t unit) { return (unit >> 8 & 1) != 0; }
uint32_t Label(uint32_t unit) { return unit & (1u << 31 | 0xff); }
size_t Value(uint32_t unit) { return unit & ~(1u << 31); }

}  // namespace

CharacterMap::CharacterMap(std::string_view bytes, const std::string& where) {
  uint32_t trie_bytes = 0;
  if (bytes.size() >= sizeof(trie_bytes)) {
    std::memcpy(&trie_bytes, bytes.data(), sizeof(trie_bytes));
    bytes.remove_prefix(sizeof(trie_bytes));
  }
  if (trie_bytes == 0 || trie_bytes % sizeof(uint32_t) != 0 || trie_bytes > bytes.size()) {
    throw Error(
        "{}: precompiled_charsmap: expected a size and a trie of as many bytes, found {} "
        "and {} bytes",
        where, trie_bytes, bytes.size());
  }
  units_.resize(trie_bytes / sizeof(uint32_t));
  std::memcpy(units_.data(), bytes.data(), trie_bytes);
  texts_ = bytes.substr(trie_bytes);
  if (ReplaceIllFormedUtf8(texts_) != texts_) {
    throw Error("{}: precompiled_charsmap: expected texts in UTF-8, found others", where);
  }
}

std::optional<std::string_view> CharacterMap::Find(std::string_view part) const {
  size_t node = Offset(units_[0]);
  for (const char c : part) {
    const auto byte = static_cast<uint8_t>(c);
    node ^= byte;
    if (byte == 0 || node >= units_.size() || Label(units_[node]) != byte) return std::nullopt;
    const uint32_t unit = units_[node];
    node ^= Offset(unit);
    if (!HasValue(unit)) continue;
    const size_t begin = node < units_.size() ? Value(units_[node]) : texts_.size();
    if (begin >= texts_.size()) return std::nullopt;
    const std::string_view text = std::string_view(texts_).substr(begin);
    // A value may point into a character of a malformed table.
    if ((static_cast<uint8_t>(text.front()) & 0xc0) == 0x80) return std::nullopt;
    return text.substr(0, text.find('\0'));
  }
  return std::nullopt;
}

std::string CharacterMap::Apply(std::string_view text, size_t max_bytes) const {
  constexpr size_t kLongestLookedUp = 5;  // bytes of a grapheme
  std::string out;
  const auto add = [&](std::string_view part) {
    out += part;
    if (out.size() > max_bytes) {
      throw Error("normalizer: expected at most {} bytes from this text", max_bytes);
    }
  };
  ForEachGrapheme(text, [&](std::string_view grapheme) {
    if (grapheme.size() <= kLongestLookedUp) {
      if (const auto found = Find(grapheme)) return add(*found);
    }
    for (size_t length = 0; !grapheme.empty(); grapheme.remove_prefix(length)) {
      length = static_cast<size_t>(std::max(1, Utf8CharLength(grapheme)));
      add(Find(grapheme.substr(0, length)).value_or(grapheme.substr(0, length)));
    }
  });
  return out;
}

std::string DecodeBase64(std::string_view text, const std::string& where) {
  while (text.ends_with('=')) text.remove_suffix(1);
  std::string bytes;
  uint32_t bits = 0;
  int count = 0;  // of bits that are not in `bytes` yet
  for (const char c : text) {
    const size_t digit = kBase64.find(c);
    if (digit == kBase64.npos) throw Error("{}: expected base64, found '{}'", where, c);
    bits = bits << 6 | static_cast<uint32_t>(digit);
    count += 6;
    if (count < 8) continue;
    count -= 8;
    bytes += static_cast<char>(bits >> count & 0xff);
  }
  return bytes;
}

std::string EncodeBase64(std::string_view bytes) {
  std::string text;
  for (size_t i = 0; i < bytes.size(); i += 3) {
    const std::string_view three = bytes.substr(i, 3);
    uint32_t bits = 0;
    for (size_t j = 0; j < 3; ++j) {
      bits = bits << 8 | (j < three.size() ? static_cast<uint8_t>(three[j]) : 0u);
    }
    for (size_t j = 0; j < 4; ++j) {
      text += j <= three.size() ? kBase64[bits >> (18 - 6 * j) & 63] : '=';
    }
  }
  return text;
}

}  // namespace fptq
