#include "base/regex.h"

#include <algorithm>
#include <cstdint>
#include <new>

#include "base/error.h"
#include "base/regex_syntax.h"
#include "base/utf8.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

namespace fptq {
namespace {

// A step is one call of PCRE2's matcher: some nanoseconds. A limit on steps holds for each place
// of the text at which a match is tried.
constexpr uint32_t kNameSteps = 100'000;
constexpr uint32_t kNameKibibytes = 1 << 10;

// FindAll allows the fewest steps at first, for many places in one call. Where they do not suffice
// it allows more of them at fewer places. What that costs must not go far beyond what the text is
// long.
constexpr uint32_t kFewestSteps = 100, kMoreSteps = 16, kMostSteps = 6'553'600;
constexpr size_t kPlaces = 256;
constexpr uint32_t kTextKibibytes = 1 << 18;
constexpr double kExtraSteps = 30e6, kExtraStepsPerByte = 100;

struct FreePcre2 {
  void operator()(pcre2_code* p) const { pcre2_code_free(p); }
  void operator()(pcre2_match_data* p) const { pcre2_match_data_free(p); }
  void operator()(pcre2_match_context* p) const { pcre2_match_context_free(p); }
};
template <typename T>
using Pcre2Pointer = std::unique_ptr<T, FreePcre2>;

// What a match needs beside the pattern. The data has room for the whole match alone.
struct Matching {
  Matching()
      : data(pcre2_match_data_create(1, nullptr)), context(pcre2_match_context_create(nullptr)) {
    if (data == nullptr || context == nullptr) throw std::bad_alloc();
  }
  Pcre2Pointer<pcre2_match_data> data;
  Pcre2Pointer<pcre2_match_context> context;
};

PCRE2_SPTR Bytes(std::string_view text) { return reinterpret_cast<PCRE2_SPTR>(text.data()); }

std::string ErrorMessage(int code) {
  PCRE2_UCHAR buffer[256];
  pcre2_get_error_message(code, buffer, sizeof(buffer));
  return reinterpret_cast<const char*>(buffer);
}

}  // namespace

struct Regex::State {
  Pcre2Pointer<pcre2_code> code;
  std::string pattern;
  std::string where;

  [[noreturn]] void Fail(int code_of_pcre2) const {
    if (code_of_pcre2 == PCRE2_ERROR_NOMEMORY) throw std::bad_alloc();
    throw Error("{}: regular expression '{}': {}", where, Excerpt(pattern),
                ErrorMessage(code_of_pcre2));
  }
};

Regex::Regex(std::string_view pattern, std::string_view where, RegexSyntax syntax) {
  if (pattern.size() > kMaxPatternBytes) {
    throw Error("{}: regular expression '{}': expected at most {} bytes", where, Excerpt(pattern),
                kMaxPatternBytes);
  }
  const std::string translated = ToPcre2Syntax(pattern, where, syntax);
  uint32_t options = PCRE2_UTF | PCRE2_UCP;
  // FindAll is for the patterns of tokenizers alone.
  if (syntax == RegexSyntax::kOniguruma) options |= PCRE2_MULTILINE | PCRE2_USE_OFFSET_LIMIT;
  int error = 0;
  PCRE2_SIZE position = 0;
  auto state = std::make_shared<State>();
  state->pattern = pattern;
  state->where = where;
  state->code.reset(pcre2_compile(Bytes(translated), translated.size(), options, &error, &position,
                                  /*context=*/nullptr));
  if (state->code == nullptr) {
    if (error == PCRE2_ERROR_HEAP_FAILED) throw std::bad_alloc();
    throw Error("{}: regular expression '{}': {} at byte {}", where, Excerpt(translated),
                ErrorMessage(error), position);
  }
  // Without JIT on this machine matching is slower, but the same.
  if (syntax == RegexSyntax::kOniguruma) {
    pcre2_jit_compile(state->code.get(), PCRE2_JIT_COMPLETE);
  }
  state_ = std::move(state);
}

const std::string& Regex::text() const { return state_->pattern; }

std::string Regex::Escape(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                       static_cast<unsigned char>(c) >= 0x80;
    if (!plain) out += '\\';
    out += c;
  }
  return out;
}

bool Regex::MatchesAt0(std::string_view text, unsigned options) const {
  const Matching matching;
  pcre2_set_match_limit(matching.context.get(), kNameSteps);
  pcre2_set_heap_limit(matching.context.get(), kNameKibibytes);
  const int result = pcre2_match(state_->code.get(), Bytes(text), text.size(), /*start=*/0,
                                 PCRE2_ANCHORED | PCRE2_NO_JIT | options, matching.data.get(),
                                 matching.context.get());
  if (result < 0 && result != PCRE2_ERROR_NOMATCH) state_->Fail(result);
  return result >= 0;
}

bool Regex::MatchesBegin(std::string_view text) const { return MatchesAt0(text, 0); }
bool Regex::MatchesWhole(std::string_view text) const {
  return MatchesAt0(text, PCRE2_ENDANCHORED);
}

void Regex::FindAll(std::string_view text, FunctionRef<void(size_t, size_t)> match) const {
  const Matching matching;
  pcre2_set_heap_limit(matching.context.get(), kTextKibibytes);
  double extra_steps = kExtraSteps + kExtraStepsPerByte * static_cast<double>(text.size());
  uint32_t steps = kFewestSteps;
  size_t places = kPlaces;
  const auto find = [&](size_t offset, uint32_t options) {
    pcre2_set_match_limit(matching.context.get(), steps);
    pcre2_set_offset_limit(matching.context.get(), offset + places - 1);
    return pcre2_match(state_->code.get(), Bytes(text), text.size(), offset,
                       PCRE2_NO_UTF_CHECK | options, matching.data.get(), matching.context.get());
  };
  size_t offset = 0;
  size_t last_end = text.npos;
  while (offset <= text.size()) {
    int result = find(offset, 0);
    // The interpreter keeps its stack on the heap.
    if (result == PCRE2_ERROR_JIT_STACKLIMIT) result = find(offset, PCRE2_NO_JIT);
    const bool too_few = result == PCRE2_ERROR_MATCHLIMIT;
    if (too_few || steps > kFewestSteps) {
      extra_steps -= static_cast<double>(std::min(places, kPlaces)) * steps;
    }
    if (too_few && steps < kMostSteps && extra_steps > 0) {
      if (places <= kPlaces) steps *= kMoreSteps;
      places = std::max<size_t>(1, kPlaces / (steps / kFewestSteps));
      continue;
    }
    if (result < 0 && result != PCRE2_ERROR_NOMATCH) state_->Fail(result);
    steps = kFewestSteps;
    if (result == PCRE2_ERROR_NOMATCH) {
      offset += places;
      while (offset < text.size() && (text[offset] & 0xc0) == 0x80) ++offset;
      // More of them the longer nothing is found, as each call may look for the first byte of a
      // match up to the end of the text.
      places = std::max(2 * places, kPlaces);
      continue;
    }
    places = kPlaces;
    const PCRE2_SIZE* range = pcre2_get_ovector_pointer(matching.data.get());
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
