// Regular expressions that come from files and flags. The engine is PCRE2, with bounds on the size
// of a pattern and on the time and memory of a match.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "base/thread_pool.h"

namespace fptq {

// What the author of a pattern wrote it for. What PCRE2 would read otherwise is translated or
// refused.
enum class RegexSyntax {
  kOniguruma,  // tokenizer.json: Unicode everywhere, ^ and $ match at every line
  kPython,     // Python's `re` on str: the targets of compressed-tensors, recipes
};

class Regex {
 public:
  static constexpr size_t kMaxPatternBytes = 16384;

  // `where` names the pattern in errors. Error if the pattern is malformed or too large.
  Regex(std::string_view pattern, std::string_view where, RegexSyntax syntax);

  const std::string& text() const;  // the pattern as given

  // The pattern that matches `text` itself, in either syntax.
  static std::string Escape(std::string_view text);

  // Python's re.match and re.fullmatch on a short text, a name. Error after a millisecond or so of
  // backtracking, which no pattern that makes sense needs.
  bool MatchesBegin(std::string_view text) const;
  bool MatchesWhole(std::string_view text) const;

  // Calls match(begin, end) for each match in `text` (well-formed UTF-8), one after the other. An
  // empty match is reported unless it follows directly on another match. Linear in the text for
  // the patterns that tokenizers use; Error if the work goes far beyond that.
  void FindAll(std::string_view text, FunctionRef<void(size_t, size_t)> match) const;

 private:
  struct State;
  bool MatchesAt0(std::string_view text, unsigned options) const;

  std::shared_ptr<const State> state_;  // copies share it
};

}  // namespace fptq
