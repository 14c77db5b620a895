#include "quant/calibration_set.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "base/test_util.h"
#include "model/source.h"

namespace fptq {
namespace {

const std::filesystem::path kModel = std::filesystem::path(FPTQ_TESTDATA) / "models/tiny-llama-f32";

QuantRecipe Recipe(int64_t tokens, int64_t length) {
  QuantRecipe recipe;
  recipe.calibration_tokens = tokens;
  recipe.sequence_length = length;
  return recipe;
}

struct Source {
  ModelSource source = ModelSource::Open(kModel);
  Tokenizer tokenizer{source.LoadTokenizer()};

  CalibrationSet Set(const QuantRecipe& recipe) const {
    return MakeCalibrationSet(recipe, source.config(), tokenizer);
  }
};

TEST(CalibrationSet, IsReproducible) {
  const Source source;
  QuantRecipe recipe = Recipe(100, 40);
  const CalibrationSet set = source.Set(recipe);
  EXPECT_EQ(set.sequences, source.Set(recipe).sequences);
  int64_t tokens = 0;
  for (const auto& sequence : set.sequences) {
    EXPECT_LE(std::ssize(sequence), 40);
    tokens += std::ssize(sequence);
  }
  EXPECT_GE(tokens, 100);
  EXPECT_EQ(set.TokenCount(), tokens);
  recipe.seed = 1;
  EXPECT_NE(set.sequences, source.Set(recipe).sequences);
}

TEST(CalibrationSet, CoversTheVocabularyWithoutSpecialTokens) {
  const Source source;
  const CalibrationSet set = source.Set(Recipe(20000, 20000));
  EXPECT_EQ(set.LongestSequence(), source.source.config().max_positions);
  std::set<int32_t> seen;
  for (const auto& sequence : set.sequences) {
    // The first token may be BOS.
    seen.insert(sequence.begin() + 1, sequence.end());
  }
  int64_t ordinary = 0;
  for (int32_t id = 0; id < source.tokenizer.vocab_size(); ++id) {
    if (!source.tokenizer.IsSpecial(id)) ++ordinary;
    EXPECT_EQ(seen.contains(id), !source.tokenizer.IsSpecial(id)) << id;
  }
  EXPECT_EQ(std::ssize(seen), ordinary);
}

TEST(CalibrationSet, ReadsText) {
  const Source source;
  const TempFolder folder;
  QuantRecipe recipe = Recipe(30, 16);
  recipe.calibration =
      folder.Write("text.txt", "The river runs through three towns to the sea.").string();
  const CalibrationSet set = source.Set(recipe);
  const auto text = source.tokenizer.Encode("The river runs",
                                            {.parse_special = false, .add_special_tokens = false});
  const auto& first = set.sequences[0];
  EXPECT_NE(std::ranges::search(first, text).begin(), first.end());
  recipe.calibration = (folder / "missing.txt").string();
  EXPECT_ERROR("missing.txt", source.Set(recipe));
}

}  // namespace
}  // namespace fptq
