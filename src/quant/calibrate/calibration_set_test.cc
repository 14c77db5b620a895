#include "quant/calibrate/calibration_set.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "base/test_paths.h"
#include "base/test_util.h"
#include "model/model.h"

namespace fptq {
namespace {

const std::filesystem::path kModel = std::filesystem::path(kTestdata) / "models/tiny-llama-f32";

QuantRecipe Recipe(int64_t tokens, int64_t length) {
  QuantRecipe recipe;
  recipe.calibration = kRandomCalibration;
  recipe.calibration_tokens = tokens;
  recipe.sequence_length = length;
  return recipe;
}

struct Source {
  ModelSource source = ModelSource::Open(kModel);
  Tokenizer tokenizer{source.LoadTokenizer()};

  CalibrationSet Set(const QuantRecipe& recipe, int threads = 1) const {
    ThreadPool pool(threads);
    return MakeCalibrationSet(recipe, source, tokenizer, {}, pool, {});
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

TEST(CalibrationSet, ChoosesTokensByRoundingAndSize) {
  ModelConfig config = ModelSource::Open(kModel).config();
  QuantRecipe recipe;
  EXPECT_EQ(ChosenTokens(recipe, config), 32768);
  const int64_t layer_weights = WeightsOf(config, 0);
  config.layers = 2'150'000'000 / layer_weights;
  EXPECT_NEAR(static_cast<double>(ChosenTokens(recipe, config)), 20'000, 20);
  config.layers = 7'000'000'000 / layer_weights;
  EXPECT_EQ(ChosenTokens(recipe, config), 8192);
  config.layers = 2;
  recipe.rounding = "rtn";
  EXPECT_EQ(ChosenTokens(recipe, config), 8192);
  recipe.calibration_tokens = 100;
  EXPECT_EQ(ChosenTokens(recipe, config), 100);
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
  for (const int32_t id : source.tokenizer.ids()) {
    if (!source.tokenizer.IsSpecial(id)) ++ordinary;
    EXPECT_EQ(seen.contains(id), !source.tokenizer.IsSpecial(id)) << id;
  }
  EXPECT_EQ(std::ssize(seen), ordinary);
}

// The model's own text is more probable to it than random tokens are.
double MeanNll(const std::vector<std::vector<int32_t>>& sequences) {
  ThreadPool pool(2);
  const auto model = LoadModel(kModel, pool);
  const ModelConfig& config = model->config();
  double sum = 0;
  int64_t count = 0;
  for (const auto& sequence : sequences) {
    const int64_t n = std::ssize(sequence);
    KvCache cache(config, KvType::kF32, PagesFor(n), config.layers);
    const std::vector<int32_t> pages = PageRange(0, cache.pages());
    Activations act(config, n, n);
    const ForwardBatch batch{
        .chunks = {{.pages = pages, .first_position = 0, .tokens = sequence, .logits = n}}};
    Forward(*model, batch, cache, pool, act);
    for (int64_t i = 0; i + 1 < n; ++i) {
      const float* logits = act.logits.data() + i * config.vocab;
      double total = 0;
      for (int64_t v = 0; v < config.vocab; ++v) total += std::exp(double{logits[v]});
      sum += std::log(total) - double{logits[sequence[static_cast<size_t>(i) + 1]]};
      ++count;
    }
  }
  return sum / static_cast<double>(count);
}

TEST(CalibrationSet, IsWrittenByTheModel) {
  const Source source;
  QuantRecipe recipe = Recipe(2000, 50);
  const CalibrationSet random = source.Set(recipe);
  recipe.calibration = kSelfCalibration;
  const CalibrationSet set = source.Set(recipe);
  EXPECT_EQ(set.sequences, source.Set(recipe, /*threads=*/3).sequences);
  ASSERT_EQ(set.sequences.size(), 40u);  // more than are written side by side
  std::set<std::vector<int32_t>> distinct(set.sequences.begin(), set.sequences.end());
  EXPECT_EQ(distinct.size(), 40u);
  for (const auto& sequence : set.sequences) {
    ASSERT_EQ(sequence.size(), 50u);
    for (size_t i = 1; i < sequence.size(); ++i) {
      EXPECT_FALSE(source.tokenizer.IsSpecial(sequence[i]));
    }
  }
  // Text drawn from the model has its entropy, random tokens have more: log(vocabulary) at least if
  // the model knew nothing.
  EXPECT_LT(MeanNll(set.sequences), MeanNll(random.sequences) - 0.1);
  recipe.seed = 1;
  EXPECT_NE(set.sequences, source.Set(recipe).sequences);
}

TEST(CalibrationSet, HasSequencesOfOneToken) {
  const Source source;
  const TempFolder folder;
  const std::string text = folder.Write("text.txt", "The river runs").string();
  for (const std::string& calibration : {std::string("self"), std::string("random"), text}) {
    QuantRecipe recipe = Recipe(3, 1);
    recipe.calibration = calibration;
    const CalibrationSet set = source.Set(recipe);
    ASSERT_EQ(set.sequences.size(), 3u) << calibration;
    for (const auto& sequence : set.sequences) {
      ASSERT_EQ(sequence.size(), 1u) << calibration;
      EXPECT_FALSE(source.tokenizer.IsSpecial(sequence[0])) << calibration;
    }
    recipe.calibration_tokens = 1;
    EXPECT_EQ(source.Set(recipe).TokenCount(), 1) << calibration;
  }
}

TEST(CalibrationSet, HasPartsOfAMixOneAfterTheOther) {
  const Source source;
  const TempFolder folder;
  const std::string text = folder.Write("text.txt", "The river runs through three towns.").string();
  QuantRecipe recipe = Recipe(80, 10);
  const std::vector<std::vector<int32_t>> random = source.Set(recipe).sequences;
  recipe.calibration = "random:0.5,self:0.25," + text;
  const CalibrationSet set = source.Set(recipe);
  ASSERT_GE(set.sequences.size(), 8u);
  EXPECT_EQ(set.sequences[0], random[0]);  // of one seed
  const std::vector<int32_t>& last = set.sequences.back();
  const auto words =
      source.tokenizer.Encode("The river", {.parse_special = false, .add_prefix = false});
  const auto is_text = [&](const std::vector<int32_t>& sequence) {
    return std::ranges::search(sequence, words).begin() != sequence.end();
  };
  EXPECT_FALSE(is_text(random[0]));
  EXPECT_EQ(std::ranges::count_if(set.sequences, is_text), 1);
  EXPECT_NE(last, random.back());
}

TEST(CalibrationSet, ReadsConversations) {
  const Source source;
  const TempFolder folder;
  QuantRecipe recipe = Recipe(1000, 64);
  const auto with = [&](std::string_view lines) {
    recipe.calibration = folder.Write("chats.jsonl", lines).string();
    return source.Set(recipe);
  };
  const CalibrationSet set = with(
      R"({"messages": [{"role": "user", "content": "The river"}]})"
      "\n\n"
      R"({"messages": [{"role": "user", "content": "runs"}, {"role": "assistant", "content": "on"}]})");
  std::vector<int32_t> tokens;
  const size_t prefix = source.tokenizer.prefix().size();
  for (const auto& sequence : set.sequences) {
    tokens.insert(tokens.end(), sequence.begin() + static_cast<int64_t>(prefix), sequence.end());
  }
  const auto expected = source.tokenizer.Encode("<|im_start|>user\nThe river<|im_end|>\n",
                                                {.parse_special = true, .add_prefix = false});
  ASSERT_GT(tokens.size(), expected.size());
  EXPECT_TRUE(std::ranges::equal(expected, std::span(tokens).first(expected.size())));
  EXPECT_ERROR("chats.jsonl, line 2", with("\n{\"messages\": 3}\n"));
  EXPECT_ERROR("chats.jsonl, line 1", with("[]"));
  EXPECT_ERROR("chats.jsonl, line 1", with("no JSON"));
  EXPECT_ERROR("expected text to calibrate with", with("\n \n"));
}

TEST(CalibrationSet, ReadsText) {
  const Source source;
  const TempFolder folder;
  QuantRecipe recipe = Recipe(30, 16);
  recipe.calibration =
      folder.Write("text.txt", "The river runs through three towns to the sea.").string();
  const CalibrationSet set = source.Set(recipe);
  const auto text =
      source.tokenizer.Encode("The river runs", {.parse_special = false, .add_prefix = false});
  const auto& first = set.sequences[0];
  EXPECT_NE(std::ranges::search(first, text).begin(), first.end());
  recipe.calibration = (folder / "missing.txt").string();
  EXPECT_ERROR("missing.txt", source.Set(recipe));
}

}  // namespace
}  // namespace fptq
