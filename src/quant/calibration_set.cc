#include "quant/calibration_set.h"

#include <algorithm>
#include <string>

#include "base/error.h"
#include "base/mapped_file.h"
#include "model/model.h"
#include "quant/rounding.h"
#include "quant/self_text.h"

namespace fptq {
namespace {

// What the tokenizer puts before a text: BOS or nothing.
std::vector<int32_t> Prefix(const ModelConfig& config, const Tokenizer& tokenizer) {
  const std::vector<int32_t> added =
      tokenizer.Encode("", {.parse_special = false, .add_special_tokens = true});
  if (!added.empty() && added.front() == config.bos_token) return {config.bos_token};
  return {};
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

int64_t ChosenTokens(const QuantRecipe& recipe, const ModelConfig& config) {
  if (recipe.calibration_tokens > 0) return recipe.calibration_tokens;
  constexpr int64_t kSmallModel = 500'000'000;
  int64_t weights = 0;
  for (const ActSite site : kAllActSites) {
    weights += config.layers * SiteInputs(config, site) * SiteChannels(config, site);
  }
  return RoundingOf(recipe).uses_gram && weights <= kSmallModel ? 32768 : 8192;
}

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

CalibrationSet MakeCalibrationSet(const QuantRecipe& recipe, const ModelSource& source,
                                  const Tokenizer& tokenizer, const std::filesystem::path& scratch,
                                  ThreadPool& pool, const Progress& progress) {
  const ModelConfig& config = source.config();
  const int64_t length = std::min(recipe.sequence_length, config.max_positions);
  std::vector<int32_t> prefix = Prefix(config, tokenizer);
  if (std::ssize(prefix) >= length) prefix.clear();  // it would leave no room for a token
  const int64_t count = ChosenTokens(recipe, config);
  if (recipe.calibration == kSelfCalibration) {
    const SelfTextOptions options = {.tokens = count, .length = length, .seed = recipe.seed};
    const auto model = LoadModel(source.location(), pool, FloatForm::kInt8, Arena(scratch));
    return {SampleSelfText(*model, prefix, options, pool, progress)};
  }
  std::vector<int32_t> tokens;
  if (recipe.calibration == kRandomCalibration) {
    RandomTokens random(recipe.seed, config, tokenizer);
    tokens.resize(static_cast<size_t>(count));
    for (int32_t& token : tokens) token = random.Next();
  } else {
    tokens = TextTokens(count, recipe.calibration, config, tokenizer);
  }
  const int64_t step = length - std::ssize(prefix);
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
