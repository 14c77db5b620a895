#include "quant/calibrate/random_tokens.h"

#include <algorithm>
#include <iterator>

#include "base/error.h"

namespace fptq {
namespace {

// splitmix64, a whole generator in a few lines.
uint64_t NextBits(uint64_t& state) {
  uint64_t z = state += 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

}  // namespace

RandomTokens::RandomTokens(uint64_t seed, const Tokenizer& tokenizer) : state_(seed) {
  std::ranges::copy_if(tokenizer.ids(), std::back_inserter(vocabulary_),
                       [&](int32_t id) { return !tokenizer.IsSpecial(id); });
  if (vocabulary_.empty())
    throw Error("random calibration: the vocabulary has only special tokens");
}

int32_t RandomTokens::Next() {
  return vocabulary_[static_cast<size_t>((NextBits(state_) >> 32) * vocabulary_.size() >> 32)];
}

}  // namespace fptq
