#include "base/regex_syntax.h"

#include <algorithm>

#include "base/error.h"

namespace fptq {
namespace {

bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsLetter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

[[noreturn]] void Refuse(std::string_view pattern, std::string_view where, std::string_view what) {
  throw Error("{}: regular expression '{}': {} is not supported", where, Excerpt(pattern), what);
}

// \s is translated as PCRE2's includes U+180E.
std::string FromOniguruma(std::string_view pattern, std::string_view where) {
  constexpr std::string_view kSameEscapes = "pPdDnrtfx";
  std::string out;
  int depth = 0;  // of classes: one within another adds to it
  for (size_t i = 0; i < pattern.size(); ++i) {
    const char c = pattern[i];
    if (c == '\\' && i + 1 < pattern.size()) {
      const char escaped = pattern[++i];
      if (escaped == 's' || escaped == 'S') {
        out += escaped == 's' ? "\\p{White_Space}" : "\\P{White_Space}";
        continue;
      }
      if ((IsLetter(escaped) || IsDigit(escaped)) &&
          kSameEscapes.find(escaped) == kSameEscapes.npos) {
        Refuse(pattern, where, fmt::format("\\{}", escaped));
      }
      out += {c, escaped};
      const bool takes_braces = escaped == 'p' || escaped == 'P' || escaped == 'x';
      if (takes_braces && pattern.substr(i + 1, 1) == "{") {  // \p{L}, \x{20}
        const size_t end = std::min(pattern.find('}', i), pattern.size() - 1);
        out += pattern.substr(i + 1, end - i);
        i = end;
      }
      continue;
    }
    if (depth > 0 && pattern.substr(i, 2) == "&&") {
      Refuse(pattern, where, "an intersection of classes");
    }
    if (depth > 0 && c == '[') {
      const char next = pattern.substr(i + 1, 1).empty() ? '\0' : pattern[i + 1];
      if (next == '^' || next == ':' || next == ']') {
        Refuse(pattern, where, "such a class within a class");
      }
    }
    if (c == '[' && depth++ > 0) continue;
    if (c == ']' && depth > 0 && --depth > 0) continue;
    if (depth == 0 && pattern.substr(i, 2) == "}+") {
      Refuse(pattern, where, "'+' after a counted repetition");
    }
    out += c;
  }
  return out;
}

// Whether "{,5}" or "{,}" begins at `at`: to Python a repetition from 0 on, to PCRE2 plain text.
bool IsOpenRepetition(std::string_view pattern, size_t at) {
  if (pattern.substr(at, 2) != "{,") return false;
  at += 2;
  while (at < pattern.size() && IsDigit(pattern[at])) ++at;
  return at < pattern.size() && pattern[at] == '}';
}

// PCRE2 reads more than Python does; what Python reads and PCRE2 reads otherwise is translated.
std::string FromPython(std::string_view pattern, std::string_view where) {
  constexpr std::string_view kSameEscapes = "dDwWsSbBAnrtfax123456789";
  std::string out;
  bool in_class = false;
  for (size_t i = 0; i < pattern.size(); ++i) {
    const char c = pattern[i];
    if (c == '\\' && i + 1 < pattern.size()) {
      const char escaped = pattern[++i];
      if (escaped == 'Z') {
        out += "\\z";
      } else if (escaped == 'v') {
        out += "\\x0b";
      } else if ((IsLetter(escaped) || IsDigit(escaped)) &&
                 kSameEscapes.find(escaped) == kSameEscapes.npos) {
        Refuse(pattern, where, fmt::format("\\{}", escaped));
      } else {
        out += {c, escaped};
      }
    } else if (in_class) {
      if (c == '[') out += '\\';  // plain text, not "[:alpha:]"
      out += c;
      in_class = c != ']';
    } else if (c == '[') {
      in_class = true;
      out += c;
      if (pattern.substr(i + 1, 1) == "^") out += pattern[++i];
      if (pattern.substr(i + 1, 1) == "]") out += pattern[++i];  // plain text there
    } else if (IsOpenRepetition(pattern, i)) {
      out += "{0";
    } else if (pattern.substr(i, 2) == "(*") {
      Refuse(pattern, where, "(*");
    } else {
      out += c;
    }
  }
  return out;
}

}  // namespace

std::string ToPcre2Syntax(std::string_view pattern, std::string_view where, RegexSyntax syntax) {
  switch (syntax) {
    case RegexSyntax::kOniguruma:
      return FromOniguruma(pattern, where);
    case RegexSyntax::kPython:
      return FromPython(pattern, where);
  }
  return {};
}

std::string Excerpt(std::string_view pattern) {
  constexpr size_t kMost = 100;
  if (pattern.size() <= kMost) return std::string(pattern);
  size_t end = kMost;
  while (end > 0 && (pattern[end] & 0xc0) == 0x80) --end;  // not within a character
  return fmt::format("{}... ({} bytes)", pattern.substr(0, end), pattern.size());
}

}  // namespace fptq
