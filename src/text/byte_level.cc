#include "text/byte_level.h"

#include <array>
#include <unordered_map>

#include "base/utf8.h"

namespace fptq {
namespace {

struct Alphabet {
  std::array<std::string, 256> characters;
  std::unordered_map<std::string_view, char> bytes;
};

// Printable Latin-1 stands for itself; the other bytes, in order, are U+0100, U+0101, ...
Alphabet MakeAlphabet() {
  Alphabet alphabet;
  int next = 0x100;
  for (int byte = 0; byte < 256; ++byte) {
    const bool printable =
        (byte >= '!' && byte <= '~') || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
    const int codepoint = printable ? byte : next++;
    std::string& character = alphabet.characters[static_cast<size_t>(byte)];
    if (codepoint >= 0x80) character.push_back(static_cast<char>(0xc0 | (codepoint >> 6)));
    character.push_back(
        static_cast<char>(codepoint >= 0x80 ? 0x80 | (codepoint & 0x3f) : codepoint));
  }
  return alphabet;
}

const Alphabet& GetAlphabet() {
  static const Alphabet* const alphabet = [] {
    auto* made = new Alphabet(MakeAlphabet());
    for (size_t byte = 0; byte < 256; ++byte) {
      made->bytes.emplace(made->characters[byte], static_cast<char>(byte));
    }
    return made;
  }();
  return *alphabet;
}

}  // namespace

const std::string& ByteLevelCharacter(uint8_t byte) { return GetAlphabet().characters[byte]; }

std::optional<std::string> ByteLevelDecode(std::string_view token) {
  const auto& bytes = GetAlphabet().bytes;
  std::string out;
  while (!token.empty()) {
    const auto length = static_cast<size_t>(Utf8CharLength(token));
    const auto it = bytes.find(token.substr(0, length));
    if (it == bytes.end()) return std::nullopt;
    out += it->second;
    token.remove_prefix(length);
  }
  return out;
}

}  // namespace fptq
