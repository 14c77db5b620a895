#include "base/utf8.h"
#include "text/tokenizer.h"

namespace fptq {
namespace {

constexpr std::string_view kReplacement = "\xef\xbf\xbd";  // U+FFFD

// Whether `bytes` is the beginning of a well-formed character, but not the whole of it.
bool IsPartOfCharacter(std::string_view bytes) {
  // All that a lead byte restricts further is the second byte, to a range that holds 80 or BF.
  for (const char fill : {'\x80', '\xbf'}) {
    const std::string filled = std::string(bytes) + std::string(3, fill);
    if (Utf8CharLength(filled) > static_cast<int>(bytes.size())) return true;
  }
  return false;
}

// The length of the beginning of `bytes` that one U+FFFD stands for: as much of a character as is
// there (Unicode 15, section 3.9, "maximal subpart"), or one byte.
size_t IllFormedLength(std::string_view bytes) {
  size_t length = 1;
  while (length < bytes.size() && IsPartOfCharacter(bytes.substr(0, length + 1))) ++length;
  return length;
}

}  // namespace

std::string Utf8Stream::Push(std::string_view bytes) {
  pending_ += bytes;
  std::string out;
  out.reserve(pending_.size());
  std::string_view rest = pending_;
  while (!rest.empty()) {
    size_t length = static_cast<size_t>(Utf8CharLength(rest));
    if (length > 0) {
      out += rest.substr(0, length);
    } else {
      if (rest.size() < 4 && IsPartOfCharacter(rest)) break;
      length = IllFormedLength(rest);
      out += kReplacement;
    }
    rest.remove_prefix(length);
  }
  pending_.erase(0, pending_.size() - rest.size());
  return out;
}

std::string Utf8Stream::Finish() {
  // What Push() keeps back is one partial character.
  const std::string out(pending_.empty() ? std::string_view() : kReplacement);
  pending_.clear();
  return out;
}

}  // namespace fptq
