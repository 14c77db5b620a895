// Tokens at random, without data.
#pragma once

#include <cstdint>
#include <vector>

#include "text/tokenizer.h"

namespace fptq {

// Tokens uniform over Tokenizer::ids() without special tokens; a seed gives the same ones on every
// machine.
class RandomTokens {
 public:
  // Error if the vocabulary has only special tokens.
  RandomTokens(uint64_t seed, const Tokenizer& tokenizer);

  int32_t Next();

 private:
  uint64_t state_;
  std::vector<int32_t> vocabulary_;  // ascending
};

}  // namespace fptq
