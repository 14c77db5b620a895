// Where in a text added tokens may be recognized.
#pragma once

#include <cstdint>
#include <span>

#include "text/added_tokens.h"
#include "text/passage.h"

namespace fptq {

// Control tokens that a template writes count; the same characters in somebody's message are text.
class TokenGuard {
 public:
  TokenGuard() = default;  // everywhere
  // `control_tokens`: ids of those that are not marked as special but direct the model all the
  // same; ascending. Both spans must outlive the guard.
  TokenGuard(std::span<const Passage> passages, std::span<const int32_t> control_tokens)
      : passages_(passages), control_tokens_(control_tokens) {}

  bool admits_all() const { return passages_.empty(); }
  // Whether `token` may be recognized at [begin, end) of the text. What the model wrote may have
  // tokens that are not special: they were written as such.
  bool Admits(const AddedToken& token, size_t begin, size_t end) const;

  std::span<const Passage> passages() const { return passages_; }
  std::span<const int32_t> control_tokens() const { return control_tokens_; }

 private:
  std::span<const Passage> passages_;
  std::span<const int32_t> control_tokens_;
};

}  // namespace fptq
