#include "text/regex.h"

#include <algorithm>
#include <new>
#include <string>

#include "base/error.h"
#include "base/utf8.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

namespace fptq {
namespace {

bool IsAsciiAlphanumeric(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

std::string ErrorMessage(int code) {
  PCRE2_UCHAR buffer[256];
  pcre2_get_error_message(code, buffer, sizeof(buffer));
  return reinterpret_cast<const char*>(buffer);
}

// `pattern` in PCRE2's syntax. The two agree on most; what means something else is translated (\s:
// PCRE2's includes U+180E) or refused.
std::string TranslateFromOniguruma(std::string_view pattern, std::string_view where) {
  constexpr std::string_view kSameEscapes = "pPdDnrtfx";
  const auto refuse = [&](std::string_view what) {
    throw Error("{}: regular expression '{}': {} is not supported", where, pattern, what);
  };
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
      if (IsAsciiAlphanumeric(escaped) && kSameEscapes.find(escaped) == kSameEscapes.npos) {
        refuse(fmt::format("\\{}", escaped));
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
    if (depth > 0 && pattern.substr(i, 2) == "&&") refuse("an intersection of classes");
    if (depth > 0 && c == '[') {
      const char next = pattern.substr(i + 1, 1).empty() ? '\0' : pattern[i + 1];
      if (next == '^' || next == ':' || next == ']') refuse("such a class within a class");
    }
    if (c == '[' && depth++ > 0) continue;
    if (c == ']' && depth > 0 && --depth > 0) continue;
    if (depth == 0 && pattern.substr(i, 2) == "}+") refuse("'+' after a counted repetition");
    out += c;
  }
  return out;
}

}  // namespace

struct Regex::State {
  pcre2_code* code = nullptr;
  std::string where;

  ~State() { pcre2_code_free(code); }
};

Regex::Regex(std::string_view pattern, std::string_view where) {
  const std::string translated = TranslateFromOniguruma(pattern, where);
  auto state = std::make_unique<State>();
  state->where = where;
  int error = 0;
  PCRE2_SIZE position = 0;
  // Ruby's syntax, Oniguruma's default, has ^ and $ match at every line.
  state->code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
                              PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE, &error, &position, nullptr);
  if (state->code == nullptr) {
    throw Error("{}: regular expression '{}': {} at byte {}", where, translated,
                ErrorMessage(error), position);
  }
  // Without JIT on this machine matching is slower, but the same.
  pcre2_jit_compile(state->code, PCRE2_JIT_COMPLETE);
  state_ = std::move(state);
}

Regex::~Regex() = default;
Regex::Regex(Regex&&) noexcept = default;
Regex& Regex::operator=(Regex&&) noexcept = default;

std::string Regex::Escape(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const bool plain = IsAsciiAlphanumeric(c) || static_cast<unsigned char>(c) >= 0x80;
    if (!plain) out += '\\';
    out += c;
  }
  return out;
}

void Regex::FindAll(std::string_view text, FunctionRef<void(size_t, size_t)> match) const {
  const std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)> data(
      pcre2_match_data_create(1, nullptr), &pcre2_match_data_free);
  if (data == nullptr) throw std::bad_alloc();
  const auto subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  size_t offset = 0;
  size_t last_end = text.npos;
  while (offset <= text.size()) {
    int result = pcre2_match(state_->code, subject, text.size(), offset, PCRE2_NO_UTF_CHECK,
                             data.get(), nullptr);
    if (result == PCRE2_ERROR_JIT_STACKLIMIT) {  // the interpreter keeps its stack on the heap
      result = pcre2_match(state_->code, subject, text.size(), offset,
                           PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, data.get(), nullptr);
    }
    if (result == PCRE2_ERROR_NOMATCH) return;
    // 0: the match has groups, for which the data has no room.
    if (result < 0) throw Error("{}: regular expression: {}", state_->where, ErrorMessage(result));
    const PCRE2_SIZE* range = pcre2_get_ovector_pointer(data.get());
    const size_t begin = range[0];
    const size_t end = range[1];
    if (begin != end || begin != last_end) {
      match(begin, end);
      offset = last_end = end;
    } else {
      offset = end + static_cast<size_t>(std::max(1, Utf8CharLength(text.substr(end))));
    }
  }
}

}  // namespace fptq
