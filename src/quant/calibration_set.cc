#include "quant/calibration_set.h"

#include <algorithm>
#include <string>

#include "base/error.h"
#include "base/text_file.h"
#include "model/model.h"
#include "quant/rounding.h"
#include "quant/self_text.h"

namespace fptq {
namespace {

// The first `count` tokens of the file, or all if it has fewer.
std::vector<int32_t> TextTokens(size_t count, const std::string& path, const Tokenizer& tokenizer) {
  const TextFile file(path);
  std::vector<int32_t> tokens;
  // Tokens of text have some 4 bytes: no need to tokenize all of a large file, unless its tokens
  // are longer by far.
  for (size_t bytes_per_token = 64; true; bytes_per_token *= 8) {
    const std::string_view text = file.text().substr(0, bytes_per_token * count);
    tokens = tokenizer.Encode(text, {.parse_special = false, .add_prefix = false});
    if (tokens.size() > count || text.size() == file.text().size()) break;
  }
  if (tokens.empty()) throw Error("{}: expected text to calibrate with, found no token", path);
  tokens.resize(std::min(tokens.size(), count));
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

void WarnOfShortage(const CalibrationSet& set, const QuantRecipe& recipe, const ModelConfig& config,
                    std::vector<std::string>& warnings) {
  const int64_t asked = ChosenTokens(recipe, config), found = set.TokenCount();
  if (found >= asked) return;
  warnings.push_back(
      fmt::format("{}: calibrating with {} tokens, all that the text has, instead of {}",
                  recipe.calibration, found, asked));
}

CalibrationSet MakeCalibrationSet(const QuantRecipe& recipe, const ModelSource& source,
                                  const Tokenizer& tokenizer, const std::filesystem::path& scratch,
                                  ThreadPool& pool, const Progress& progress) {
  const ModelConfig& config = source.config();
  const int64_t length = std::min(recipe.sequence_length, config.max_positions);
  std::span<const int32_t> prefix = tokenizer.prefix();
  if (std::ssize(prefix) >= length) prefix = {};  // it would leave no room for a token
  const int64_t count = ChosenTokens(recipe, config);
  if (recipe.calibration == kSelfCalibration) {
    const SelfTextOptions options = {.tokens = count, .length = length, .seed = recipe.seed};
    const auto model = LoadModel(source.location(), pool, FloatForm::kInt8, Arena(scratch));
    return {SampleSelfText(*model, prefix, options, pool, progress)};
  }
  std::vector<int32_t> tokens;
  if (recipe.calibration == kRandomCalibration) {
    RandomTokens random(recipe.seed, tokenizer);
    tokens.resize(static_cast<size_t>(count));
    for (int32_t& token : tokens) token = random.Next();
  } else {
    tokens = TextTokens(static_cast<size_t>(count), recipe.calibration, tokenizer);
  }
  const int64_t step = length - std::ssize(prefix);
  CalibrationSet set;
  for (auto begin = tokens.begin(); begin != tokens.end();) {
    const auto end = begin + std::min(step, tokens.end() - begin);
    std::vector<int32_t>& sequence = set.sequences.emplace_back(prefix.begin(), prefix.end());
    sequence.insert(sequence.end(), begin, end);
    begin = end;
  }
  return set;
}

}  // namespace fptq
