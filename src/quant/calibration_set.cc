#include "quant/calibration_set.h"

#include <algorithm>
#include <string>

#include "base/error.h"
#include "base/mapped_file.h"
#include "model/model.h"

namespace fptq {
namespace {

// splitmix64: a whole generator in three lines, so that a seed gives the same tokens everywhere.
class RandomBits {
 public:
  explicit RandomBits(uint64_t seed) : state_(seed) {}

  uint64_t Next() {
    uint64_t z = state_ += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  // Uniform in [0, count) up to count / 2^32.
  size_t Below(size_t count) { return static_cast<size_t>((Next() >> 32) * count >> 32); }

 private:
  uint64_t state_;
};

// What the tokenizer puts before a text: BOS or nothing.
std::vector<int32_t> Prefix(const ModelConfig& config, const Tokenizer& tokenizer) {
  const std::vector<int32_t> added =
      tokenizer.Encode("", {.parse_special = false, .add_special_tokens = true});
  if (!added.empty() && added.front() == config.bos_token) return {config.bos_token};
  return {};
}

std::vector<int32_t> RandomTokens(int64_t count, uint64_t seed, const ModelConfig& config,
                                  const Tokenizer& tokenizer) {
  std::vector<int32_t> vocabulary;
  const int64_t size = std::min(config.vocab, tokenizer.vocab_size());
  for (int32_t id = 0; id < size; ++id) {
    if (!tokenizer.IsSpecial(id)) vocabulary.push_back(id);
  }
  if (vocabulary.empty()) throw Error("random calibration: the vocabulary has only special tokens");
  RandomBits random(seed);
  std::vector<int32_t> tokens(static_cast<size_t>(count));
  for (int32_t& token : tokens) token = vocabulary[random.Below(vocabulary.size())];
  return tokens;
}

// The first `count` tokens of the file, or all if it has fewer.
std::vector<int32_t> TextTokens(int64_t count, const std::string& path, const ModelConfig& config,
                                const Tokenizer& tokenizer) {
  // Tokens of text have some 4 bytes: no need to tokenize all of a large file.
  constexpr int64_t kBytesPerToken = 64;
  const MappedFile file(path);
  const int64_t size = std::min(std::ssize(file.bytes()), kBytesPerToken * count);
  const std::string_view text(reinterpret_cast<const char*>(file.bytes().data()),
                              static_cast<size_t>(size));
  std::vector<int32_t> tokens =
      tokenizer.Encode(text, {.parse_special = false, .add_special_tokens = false});
  if (tokens.empty()) throw Error("{}: expected text to calibrate with, found no token", path);
  if (std::ssize(tokens) > count) tokens.resize(static_cast<size_t>(count));
  CheckTokens(tokens, config);
  return tokens;
}

}  // namespace

int64_t CalibrationSet::TokenCount() const {
  int64_t tokens = 0;
  for (const auto& sequence : sequences) tokens += std::ssize(sequence);
  return tokens;
}

int64_t CalibrationSet::LongestSequence() const {
  int64_t longest = 0;
  for (const auto& sequence : sequences) longest = std::max(longest, std::ssize(sequence));
  return longest;
}

CalibrationSet MakeCalibrationSet(const QuantRecipe& recipe, const ModelConfig& config,
                                  const Tokenizer& tokenizer) {
  const std::vector<int32_t> tokens =
      recipe.calibration == kRandomCalibration
          ? RandomTokens(recipe.calibration_tokens, recipe.seed, config, tokenizer)
          : TextTokens(recipe.calibration_tokens, recipe.calibration, config, tokenizer);
  const std::vector<int32_t> prefix = Prefix(config, tokenizer);
  const int64_t length = std::min(recipe.sequence_length, config.max_positions);
  const int64_t step = std::max<int64_t>(length - std::ssize(prefix), 1);
  CalibrationSet set;
  for (auto begin = tokens.begin(); begin != tokens.end();) {
    const auto end = begin + std::min(step, tokens.end() - begin);
    std::vector<int32_t>& sequence = set.sequences.emplace_back(prefix);
    sequence.insert(sequence.end(), begin, end);
    begin = end;
  }
  return set;
}

}  // namespace fptq
