#include "quant/decide/policy.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <random>

#include "base/half.h"
#include "base/test_paths.h"
#include "base/test_util.h"
#include "model/model.h"
#include "model/weights/float_layer.h"
#include "quant/round/storage.h"

namespace fptq {
namespace {

TEST(ChooseByRange, FollowsThePaper) {
  QuantRecipe recipe;  // v0 = 15, v1 = 150
  const auto choice = [&](double range, bool has_norm) {
    return ActChoiceName(ChooseByRange(recipe, range, has_norm).choice);
  };
  EXPECT_EQ(choice(0, true), "static");
  EXPECT_EQ(choice(15, true), "static");
  EXPECT_EQ(choice(15.01, true), "lae_static");
  EXPECT_EQ(choice(149.9, true), "lae_static");
  EXPECT_EQ(choice(150, true), "dynamic");
  EXPECT_EQ(choice(15, false), "static");
  EXPECT_EQ(choice(100, false), "dynamic");
  EXPECT_EQ(choice(1000, false), "dynamic");
  EXPECT_NE(ChooseByRange(recipe, 100, false).reason, ChooseByRange(recipe, 1000, false).reason);
  recipe.equalization = Equalization::kNone;
  EXPECT_EQ(choice(100, true), "dynamic");
}

// A layer of the tiny model with planted activations.
struct Layer {
  ModelSource source =
      ModelSource::Open(std::filesystem::path(kTestdata) / "models/tiny-llama-f32");
  ThreadPool pool{2};
  SourceLayer weights = ReadLayer(source, 0);
  LayerStatistics statistics;

  // +-1 at random; `outlier` multiplies channel 5, `sink` row 0.
  Layer(float outlier, float sink, int64_t rows_seen = kMinFittedTokens) {
    std::mt19937 random(1);
    LayerObserver observer(source.config(), SitesOf(source.config(), 0),
                           {.rows = rows_seen, .sample_rows = 64}, pool);
    for (const ActSite site : kAllActSites) {
      const int64_t k = SiteInputs(source.config(), site);
      std::vector<float> rows(static_cast<size_t>(rows_seen * k));
      for (float& x : rows) x = random() % 2 == 0 ? 1.0f : -1.0f;
      for (int64_t r = 0; r < rows_seen; ++r) rows[static_cast<size_t>(r * k + 5)] *= outlier;
      for (int64_t j = 0; j < k; ++j) rows[static_cast<size_t>(j)] *= sink;
      observer.Observe(0, site, rows, rows_seen);
    }
    statistics = observer.Finish(0);
  }

  LayerPolicy Decide(const QuantRecipe& recipe) {
    const WeightFormats formats(recipe, source.config());
    return DecidePolicy({.config = source.config(),
                         .formats = formats,
                         .layer = 0,
                         .source = weights,
                         .statistics = statistics},
                        recipe, pool);
  }
};

std::string ChoiceAt(const LayerPolicy& policy, ActSite site) {
  return ActChoiceName(policy[static_cast<size_t>(site)].choice);
}

TEST(DecidePolicy, ChoosesByMeasuredError) {
  QuantRecipe recipe;  // auto
  recipe.weight_bits = 8;
  for (const float outlier : {1.0f, 300.0f}) {
    for (const SitePolicy& site : Layer(outlier, 1).Decide(recipe)) {
      EXPECT_EQ(site.choice.scheme, ActScheme::kDynamic) << site.reason;
      EXPECT_EQ(site.scale, 0);
      // An outlying channel: equalization makes up for it, wherever it can be folded.
      EXPECT_TRUE(outlier == 1 || site.choice.equalization == Equalization::kLae) << site.reason;
      EXPECT_EQ(site.channel_scales.empty(), site.choice.equalization == Equalization::kNone);
      ASSERT_EQ(site.alternatives.size(), 4u);
      for (const Alternative& alternative : site.alternatives) {
        EXPECT_GT(alternative.error, 0);
        EXPECT_LT(alternative.error, 1);
      }
    }
  }
  // An outlying row: no scale serves all rows.
  for (const SitePolicy& site : Layer(1, 300).Decide(recipe)) {
    for (const Alternative& alternative : site.alternatives) {
      if (alternative.choice == site.choice || alternative.choice.scheme == ActScheme::kDynamic) {
        continue;
      }
      EXPECT_GT(alternative.error, 2 * site.alternatives[1].error) << site.reason;
    }
  }
}

// What rounding loses counts too: 4 bits lose more than 8, and 16-bit activations lose nothing.
TEST(DecidePolicy, MeasuresWithRoundedWeights) {
  Layer layer(1, 1);
  QuantRecipe recipe;
  const LayerPolicy four = layer.Decide(recipe);
  recipe.weight_bits = 8;
  const LayerPolicy eight = layer.Decide(recipe);
  for (size_t site = 0; site < four.size(); ++site) {
    for (size_t i = 0; i < 4; ++i) {
      EXPECT_GT(four[site].alternatives[i].error, 4 * eight[site].alternatives[i].error);
    }
  }
  recipe.activation_bits = 16;
  EXPECT_EQ(ChoiceAt(layer.Decide(recipe), ActSite::kMlpMid), "float");
}

TEST(DecidePolicy, CanBeForced) {
  Layer layer(30, 1);
  QuantRecipe recipe;
  recipe.policy = PolicyMode::kStatic;
  LayerPolicy policy = layer.Decide(recipe);
  EXPECT_EQ(ChoiceAt(policy, ActSite::kAttnIn), "lae_static");
  EXPECT_EQ(ChoiceAt(policy, ActSite::kMlpMid), "static");
  recipe.policy = PolicyMode::kDynamic;
  recipe.equalization = Equalization::kSmoothQuant;
  policy = layer.Decide(recipe);
  EXPECT_EQ(ChoiceAt(policy, ActSite::kAttnIn), "smoothquant_dynamic");
  EXPECT_EQ(ChoiceAt(policy, ActSite::kAttnOut), "dynamic");
}

TEST(DecidePolicy, ObeysOverrides) {
  Layer layer(1, 1);
  QuantRecipe recipe;
  recipe.overrides = {ParseOverride("0/attn_.*=dynamic", "test"),
                      ParseOverride(R"(.*\.down_proj=lae_dynamic)", "test"),
                      ParseOverride("0/attn_in=static", "test"),  // the first goes before it
                      ParseOverride("mlp_in=dynamic", "test")};   // is not the whole name
  const LayerPolicy policy = layer.Decide(recipe);
  EXPECT_EQ(ChoiceAt(policy, ActSite::kAttnIn), "dynamic");
  EXPECT_EQ(ChoiceAt(policy, ActSite::kAttnOut), "dynamic");
  EXPECT_EQ(policy[2].reason.find("override"), std::string::npos) << policy[2].reason;
  EXPECT_EQ(ChoiceAt(policy, ActSite::kMlpMid), "lae_dynamic");
  EXPECT_NE(policy[0].reason.find("0/attn_.*"), std::string::npos) << policy[0].reason;
  EXPECT_ERROR("REGEX=CHOICE", ParseOverride("attn", "test"));
  EXPECT_ERROR("regular expression", ParseOverride("(=static", "test"));
  EXPECT_ERROR("lae_dynamic", ParseOverride("a=fast", "test"));
}

TEST(StaticScale, IsWhatTheTypeStores) {
  EXPECT_EQ(StaticScale(127.5, DataType::kF32), 1);
  EXPECT_EQ(StaticScale(10, DataType::kF32), static_cast<float>(10 / 127.5));
  EXPECT_EQ(StaticScale(10, DataType::kBF16), BF16ToF32(F32ToBF16(static_cast<float>(10 / 127.5))));
}

// With a scale of 0 or of infinity nothing would be left of the activations; with one of few digits
// less than 8 bits.
TEST(StaticScale, IsNoneWhereTheTypeHasNone) {
  constexpr double kSteps = 127.5;
  for (const DataType dtype : {DataType::kF32, DataType::kF16, DataType::kBF16}) {
    const double smallest = SmallestNormalStored(dtype), largest = LargestStored(dtype);
    EXPECT_EQ(StaticScale(0, dtype), std::nullopt);
    EXPECT_EQ(StaticScale(0.9 * smallest * kSteps, dtype), std::nullopt);
    EXPECT_EQ(StaticScale(smallest * kSteps, dtype), smallest);
    EXPECT_EQ(StaticScale(largest * kSteps, dtype), largest);
    EXPECT_EQ(StaticScale(1.1 * largest * kSteps, dtype), std::nullopt);
  }
}

TEST(DecidePolicy, TakesNoStaticScaleThatTheTypeDoesNotHave) {
  QuantRecipe recipe;
  for (const PolicyMode mode : {PolicyMode::kStatic, PolicyMode::kPaper, PolicyMode::kAuto}) {
    recipe.policy = mode;
    recipe.v0 = recipe.v1 = 1e9;  // so that the paper's rule asks for static ones
    for (const float factor : {0.0f, 1e-6f, 1e8f}) {
      Layer layer(1, 1);
      const_cast<ModelConfig&>(layer.source.config()).dtype = DataType::kF16;
      // Nothing to equalize with.
      recipe.equalization = Equalization::kNone;
      const std::vector<float> divisors(layer.statistics[0].absmax.size(), 1 / factor);
      layer.statistics[0].DivideChannels(divisors, layer.pool);
      const LayerPolicy policy = layer.Decide(recipe);
      EXPECT_EQ(ChoiceAt(policy, ActSite::kAttnIn), "dynamic") << factor << policy[0].reason;
      EXPECT_EQ(policy[0].scale, 0);
      if (mode == PolicyMode::kAuto) continue;  // which takes no static one
      EXPECT_EQ(policy[1].choice.scheme, ActScheme::kStatic) << policy[1].reason;
      EXPECT_NE(policy[0].reason.find("F16 has no scale for a range of"), std::string::npos);
      ASSERT_EQ(CollectNotes(policy).size(), 1u);
      EXPECT_EQ(CollectNotes(policy)[0],
                "1 of 4 sites: per token, as F16 has no static scale for their range");
    }
  }
}

// Of a handful of tokens nothing is known about the next one.
TEST(DecidePolicy, FitsNothingToAHandfulOfTokens) {
  QuantRecipe recipe;  // auto
  Layer few(30, 1, kMinFittedTokens - 1);
  LayerPolicy policy = few.Decide(recipe);
  for (const SitePolicy& site : policy) {
    EXPECT_EQ(ActChoiceName(site.choice), "dynamic");
    EXPECT_EQ(site.reason, "511 calibration tokens, equalization needs 512");
  }
  ASSERT_EQ(CollectNotes(policy).size(), 1u);
  // What is asked for is done, with a note.
  recipe.policy = PolicyMode::kStatic;
  policy = few.Decide(recipe);
  EXPECT_EQ(ChoiceAt(policy, ActSite::kAttnIn), "lae_static");
  ASSERT_EQ(CollectNotes(policy).size(), 1u);
  EXPECT_EQ(CollectNotes(policy)[0],
            "4 of 4 sites: a static scale from 511 calibration tokens, less than 512");
  recipe.policy = PolicyMode::kAuto;
  recipe.overrides = {ParseOverride("0/attn_in=static", "test")};
  EXPECT_EQ(ChoiceAt(few.Decide(recipe), ActSite::kAttnIn), "static");
  EXPECT_TRUE(CollectNotes(Layer(30, 1).Decide(recipe)).empty());
}

// A site that calibration never came to, as an expert of a mixture may be.
TEST(DecidePolicy, TakesSitesWithoutRows) {
  Layer layer(1, 1);
  LayerStatistics nothing(layer.statistics.size());
  for (size_t site = 0; site < nothing.size(); ++site) {
    nothing[site].absmax.resize(layer.statistics[site].absmax.size());
    nothing[site].sum_squares.resize(nothing[site].absmax.size());
  }
  layer.statistics = std::move(nothing);
  QuantRecipe recipe;
  for (const PolicyMode mode : {PolicyMode::kAuto, PolicyMode::kStatic, PolicyMode::kDynamic}) {
    recipe.policy = mode;
    for (const SitePolicy& site : layer.Decide(recipe)) {
      EXPECT_EQ(site.choice.scheme, ActScheme::kDynamic);
      EXPECT_EQ(site.scale, 0);
    }
  }
}

}  // namespace
}  // namespace fptq
