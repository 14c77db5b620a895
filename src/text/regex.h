// Regular expressions as tokenizer.json writes them (Oniguruma's syntax, Unicode everywhere).
#pragma once

#include <cstddef>
#include <memory>
#include <string_view>

#include "base/thread_pool.h"

namespace fptq {

// Matching is linear for the patterns that tokenizers use; for others it is bounded, and Error
// beyond the bound.
class Regex {
 public:
  // `where` names the pattern in errors. Error if the pattern is malformed, or uses what our engine
  // (PCRE2) does not read as Oniguruma does.
  Regex(std::string_view pattern, std::string_view where);
  ~Regex();
  Regex(Regex&&) noexcept;
  Regex& operator=(Regex&&) noexcept;

  // The pattern that matches `text` itself.
  static std::string Escape(std::string_view text);

  // Calls match(begin, end) for each match in `text` (well-formed UTF-8), one after the other. An
  // empty match is reported unless it follows directly on another match.
  void FindAll(std::string_view text, FunctionRef<void(size_t, size_t)> match) const;

 private:
  struct State;
  std::unique_ptr<const State> state_;
};

}  // namespace fptq
