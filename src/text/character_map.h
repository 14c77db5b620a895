// The tables by which SentencePiece rewrites characters (nmt_nfkc and the like).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace fptq {

// A `precompiled_charsmap`: a trie of what is rewritten, as a double array of units of 32 bits, and
// the texts that take its place.
class CharacterMap {
 public:
  // Error naming `where` if the bytes are malformed.
  CharacterMap(std::string_view bytes, const std::string& where);

  // `text`, well-formed UTF-8, as the `tokenizers` package normalizes it: grapheme by grapheme, and
  // those of 6 bytes or more, or that the table has not, character by character. What begins with
  // an entry of the table becomes what that stands for, as a whole. Error if there would be more
  // than `max_bytes`.
  std::string Apply(std::string_view text, size_t max_bytes) const;

 private:
  // What the shortest entry that `part` begins with stands for.
  std::optional<std::string_view> Find(std::string_view part) const;

  std::vector<uint32_t> units_;
  std::string texts_;  // each ends with a zero
};

// The bytes that `text` writes in base64. Error naming `where` if it is none.
std::string DecodeBase64(std::string_view text, const std::string& where);
// The other way.
std::string EncodeBase64(std::string_view bytes);

}  // namespace fptq
