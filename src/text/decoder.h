// What tokens become when they are put together to text.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json.h"

namespace fptq {

// The "decoder" of tokenizer.json: ByteLevel, or what SentencePiece models have, Metaspace or a
// sequence of Replace, ByteFallback, Fuse and Strip.
class Decoder {
 public:
  // Error naming whatever `spec` asks for that is not implemented.
  Decoder(const Json& spec, const std::string& where);

  bool byte_level() const { return byte_level_; }
  // The bytes that a token as written in the file stands for.
  std::string TokenBytes(std::string_view token) const;
  // Whether TokenBytes is one byte that the others around it make a character with.
  bool IsByte(std::string_view token) const;
  // Characters ' ' that a text loses at its beginning.
  size_t stripped_spaces() const { return stripped_spaces_; }
  // Whether the first token loses all its spaces, wherever they stand in it (Metaspace).
  bool strips_first_token() const { return strips_first_token_; }

 private:
  void ParseSequence(const Json& members, const std::string& where);
  void ParseMetaspace(const JsonFields& spec);

  bool byte_level_ = false;
  std::vector<std::pair<std::string, std::string>> replacements_;
  bool byte_fallback_ = false;
  size_t stripped_spaces_ = 0;
  bool strips_first_token_ = false;
};

// "<0x0A>" <-> the byte: SentencePiece's tokens for bytes.
std::string ByteToken(uint8_t byte);
std::optional<char> ByteOfToken(std::string_view token);

}  // namespace fptq
