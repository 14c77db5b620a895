#include "text/decoder.h"

#include <cstdint>

#include "base/error.h"
#include "text/byte_level.h"
#include "text/pre_tokenizer.h"

namespace fptq {
namespace {

constexpr int64_t kMaxStripped = 64;
constexpr size_t kMaxTokenBytes = size_t{1} << 16;  // of what replacements make of a token

std::string ReplaceAll(std::string_view text, const std::string& from, const std::string& to) {
  std::string out;
  size_t done = 0;
  for (size_t at = text.find(from); at != text.npos; at = text.find(from, done)) {
    out.append(text.substr(done, at - done)).append(to);
    done = at + from.size();
  }
  return out.append(text.substr(done));
}

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

}  // namespace

std::string ByteToken(uint8_t byte) { return fmt::format("<0x{:02X}>", byte); }

std::optional<char> ByteOfToken(std::string_view token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return std::nullopt;
  const int high = HexDigit(token[3]);
  const int low = HexDigit(token[4]);
  if (high < 0 || low < 0) return std::nullopt;
  return static_cast<char>(high * 16 + low);
}

Decoder::Decoder(const Json& spec, const std::string& where) {
  const JsonFields fields(spec, where);
  const std::string type = fields.String("type");
  if (type == "ByteLevel") {
    byte_level_ = true;
  } else if (type == "Metaspace") {
    ParseMetaspace(fields);
  } else if (type == "Sequence") {
    ParseSequence(fields.Array("decoders"), where);
  } else {
    throw Error("{}: '{}' is not supported; known are ByteLevel, Metaspace and Sequence", where,
                type);
  }
}

void Decoder::ParseMetaspace(const JsonFields& spec) {
  replacements_.emplace_back(spec.String("replacement"), " ");
  if (replacements_.back().first.empty()) {
    throw Error("{}: Metaspace: expected a replacement, found ''", spec.where());
  }
  strips_first_token_ = MetaspacePrefix(spec) != "never";
}

void Decoder::ParseSequence(const Json& members, const std::string& where) {
  bool fused = false;
  for (const Json& member : members) {
    const JsonFields fields(member, where);
    const std::string type = fields.String("type");
    if (type == "ByteLevel" && members.size() == 1) {
      byte_level_ = true;
    } else if (type == "Metaspace" && members.size() == 1) {
      ParseMetaspace(fields);
    } else if (type == "Replace" && !byte_fallback_ && !fused) {
      const JsonFields pattern(fields.Object("pattern"), where + ": Replace: pattern");
      replacements_.emplace_back(pattern.String("String"), fields.String("content"));
      if (replacements_.back().first.empty()) throw Error("{}: expected a string", pattern.where());
    } else if (type == "ByteFallback" && !fused) {
      byte_fallback_ = true;
    } else if (type == "Fuse") {
      fused = true;
    } else if (type == "Strip" && fused && fields.String("content") == " " &&
               fields.IntOr("stop", 0, 0, kMaxStripped) == 0) {
      stripped_spaces_ += static_cast<size_t>(fields.Int("start", 0, kMaxStripped));
    } else {
      throw Error(
          "{}: '{}' is not supported there; known are ByteLevel or Metaspace alone, or Replace, "
          "ByteFallback, Fuse and Strip of leading spaces in this order",
          where, type);
    }
  }
}

std::string Decoder::TokenBytes(std::string_view token) const {
  if (byte_level_) return ByteLevelDecode(token).value_or(std::string(token));
  if (IsByte(token)) return std::string(1, *ByteOfToken(token));
  std::string out(token);
  for (const auto& [from, to] : replacements_) {
    out = ReplaceAll(out, from, to);
    if (out.size() > kMaxTokenBytes) {
      throw Error("decoder: expected at most {} bytes from the token '{}'", kMaxTokenBytes, token);
    }
  }
  return out;
}

bool Decoder::IsByte(std::string_view token) const {
  return byte_fallback_ && ByteOfToken(token).has_value();
}

}  // namespace fptq
