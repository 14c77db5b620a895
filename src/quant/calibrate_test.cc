#include "quant/calibrate.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "base/test_util.h"
#include "model/model.h"

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

// The observer sees in each layer what the whole forward pass shows it, whatever the number of
// threads.
TEST(Calibrate, AgreesWithTheForwardPass) {
  const Source source;
  const CalibrationSet set = source.Set(Recipe(150, 64));
  ThreadPool one(1), three(3);
  const std::vector<LayerStats> stats = Calibrate(source.source, set, one, {});
  const std::vector<LayerStats> threaded = Calibrate(source.source, set, three, {});

  struct Absmax : ActivationObserver {
    std::map<std::pair<int64_t, ActSite>, std::pair<float, double>> seen;  // absmax, sum of squares
    void Observe(int64_t layer, ActSite site, std::span<const float> rows, int64_t) override {
      auto& [absmax, sum] = seen[{layer, site}];
      for (const float x : rows) {
        absmax = std::max(absmax, std::abs(x));
        sum += double{x} * x;
      }
    }
  } observer;
  const auto model = LoadModel(kModel, one);
  KvCache cache(model->config(), KvType::kF32, 1, set.LongestSequence(), model->config().layers);
  Activations act(model->config(), set.LongestSequence(), 1);
  for (const auto& sequence : set.sequences) {
    const ForwardBatch batch{
        .chunks = {{.slot = 0, .first_position = 0, .tokens = sequence, .logits = 1}}};
    Forward(*model, batch, cache, one, act, &observer);
  }
  for (int64_t layer = 0; layer < model->config().layers; ++layer) {
    for (const ActSite site : kAllActSites) {
      const ActivationStats& found = stats[static_cast<size_t>(layer)][static_cast<size_t>(site)];
      const ActivationStats& other =
          threaded[static_cast<size_t>(layer)][static_cast<size_t>(site)];
      const auto& [absmax, sum] = observer.seen.at({layer, site});
      EXPECT_EQ(found.Range(), absmax);
      double squares = 0;
      for (const double value : found.sum_squares) squares += value;
      EXPECT_NEAR(squares, sum, 1e-12 * sum);  // the order of sums in double
      EXPECT_EQ(found.absmax, other.absmax);
      EXPECT_EQ(found.sum_squares, other.sum_squares);
    }
  }
}

TEST(StatsObserver, NamesTheSiteOfInfiniteActivations) {
  const Source source;
  ThreadPool pool(1);
  StatsObserver observer(source.source.config(), pool);
  std::vector<float> rows(static_cast<size_t>(source.source.config().hidden));
  observer.Observe(1, ActSite::kMlpIn, rows, 1);
  EXPECT_EQ(observer.Finish(1)[2].Range(), 0);
  rows[5] = NAN;
  observer.Observe(1, ActSite::kMlpIn, rows, 1);
  EXPECT_ERROR("layer 1, mlp_in", observer.Finish(1));
}

}  // namespace
}  // namespace fptq
