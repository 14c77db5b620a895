#include "quant/calibrate/calibration_set.h"

#include <algorithm>
#include <iterator>
#include <memory>
#include <string>

#include "base/error.h"
#include "model/model.h"
#include "quant/calibrate/calibration_mix.h"
#include "quant/calibrate/calibration_text.h"
#include "quant/calibrate/random_tokens.h"
#include "quant/calibrate/self_text.h"
#include "quant/round/rounding.h"

namespace fptq {
namespace {

std::vector<int32_t> RandomText(int64_t count, uint64_t seed, const Tokenizer& tokenizer) {
  RandomTokens random(seed, tokenizer);
  std::vector<int32_t> tokens(static_cast<size_t>(count));
  for (int32_t& token : tokens) token = random.Next();
  return tokens;
}

// Adds the tokens in sequences of `length` that begin with `prefix`.
void AddSequences(std::span<const int32_t> tokens, std::span<const int32_t> prefix, int64_t length,
                  CalibrationSet& set) {
  const auto step = static_cast<size_t>(length - std::ssize(prefix));
  for (size_t begin = 0; begin < tokens.size(); begin += step) {
    const auto part = tokens.subspan(begin, std::min(step, tokens.size() - begin));
    std::vector<int32_t>& sequence = set.sequences.emplace_back(prefix.begin(), prefix.end());
    sequence.insert(sequence.end(), part.begin(), part.end());
  }
}

void AddGiven(GivenSequences given, const ModelConfig& config, CalibrationSet& set) {
  if (given.empty())
    throw Error(
        "calibration 'given': expected sequences from the program that calls this, found none");
  for (size_t i = 0; i < given.size(); ++i) {
    if (given[i].empty() || std::ssize(given[i]) > config.max_positions) {
      throw Error("calibration: sequence {}: expected 1 to {} tokens, found {}", i,
                  config.max_positions, given[i].size());
    }
    CheckTokens(given[i], config);
    set.sequences.push_back(given[i]);
  }
}

}  // namespace

int64_t ChosenTokens(const QuantRecipe& recipe, const ModelConfig& config) {
  if (recipe.calibration_tokens > 0) return recipe.calibration_tokens;
  constexpr int64_t kLeast = 8192, kMost = 32768;
  constexpr int64_t kWork = 43'000'000'000'000;  // tokens times weights that each meets
  int64_t weights = 0;
  for (int64_t layer = 0; layer < config.layers; ++layer) {
    weights += ActiveWeightsOf(config, layer);
  }
  return RoundingOf(recipe).uses_gram ? std::clamp(kWork / weights, kLeast, kMost) : kLeast;
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
                                  ThreadPool& pool, const Progress& progress,
                                  GivenSequences given) {
  const ModelConfig& config = source.config();
  const int64_t length = std::min(recipe.sequence_length, config.max_positions);
  std::span<const int32_t> prefix = tokenizer.prefix();
  if (std::ssize(prefix) >= length) prefix = {};  // it would leave no room for a token
  const std::vector<CalibrationPart> parts = ParseCalibration(recipe.calibration, "calibration");
  const std::vector<int64_t> counts = SplitTokens(parts, ChosenTokens(recipe, config));
  CalibrationSet set;
  std::shared_ptr<const Model> writer;
  for (size_t i = 0; i < parts.size(); ++i) {
    const CalibrationPart& part = parts[i];
    if (counts[i] == 0) continue;
    if (part.is_written()) {
      const SelfTextOptions options = {.tokens = counts[i],
                                       .length = length,
                                       .seed = recipe.seed,
                                       .chat = part.source == kChatCalibration};
      if (!writer) {
        writer = LoadModel(source.location(), pool, FloatForm::kInt8, Arena(scratch));
      }
      std::ranges::move(SampleSelfText(*writer, prefix, options, pool, progress),
                        std::back_inserter(set.sequences));
    } else if (part.source == kGivenCalibration) {
      AddGiven(given, config, set);
    } else if (part.source == kRandomCalibration) {
      AddSequences(RandomText(counts[i], recipe.seed, tokenizer), prefix, length, set);
    } else {
      AddSequences(ReadCalibrationText(part.source, counts[i], source, tokenizer), prefix, length,
                   set);
    }
  }
  return set;
}

}  // namespace fptq
