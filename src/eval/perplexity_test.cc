#include "eval/perplexity.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "base/test_util.h"
#include "eval/testing.h"

namespace fptq {
namespace {

// The logits are floats: 1e-7 relative, times logits of up to about 10.
constexpr double kTolerance = 1e-6;

TEST(Perplexity, NllIsMinusLogOfTheProbability) {
  const std::vector<double> probabilities = {0.125, 0.5, 0.25, 0.125};
  std::vector<float> logits;
  for (const double p : probabilities) logits.push_back(static_cast<float>(std::log(p) + 3));
  for (int32_t i = 0; i < 4; ++i) {
    EXPECT_NEAR(NegativeLogLikelihood(logits, i), -std::log(probabilities[static_cast<size_t>(i)]),
                kTolerance);
  }
}

TEST(Perplexity, NllOfEqualLogitsIsLogOfTheVocabulary) {
  EXPECT_DOUBLE_EQ(NegativeLogLikelihood(std::vector<float>(1000, -7.0f), 5), std::log(1000.0));
}

TEST(Perplexity, NllOfHugeLogitsDoesNotOverflow) {
  EXPECT_DOUBLE_EQ(NegativeLogLikelihood(std::vector<float>{3e38f, 0, -3e38f}, 0), 0);
  EXPECT_DOUBLE_EQ(NegativeLogLikelihood(std::vector<float>{1000, 0}, 1), 1000);
}

TEST(Perplexity, RejectsLogitsThatAreNotFinite) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  EXPECT_ERROR("token 1", NegativeLogLikelihood(std::vector<float>{0, NAN, 1}, 1));
  EXPECT_ERROR("token 0", NegativeLogLikelihood(std::vector<float>{0, NAN, 1}, 0));
  EXPECT_ERROR("token 0", NegativeLogLikelihood(std::vector<float>{0, kInfinity}, 0));
  EXPECT_ERROR("token 1", NegativeLogLikelihood(std::vector<float>{0, -kInfinity}, 1));
}

TEST(Perplexity, SummaryIsTheExponentialOfTheMean) {
  const PerplexityResult result =
      SummarizeNlls(std::vector<double>{1, 2, 3, 6}, std::vector<int64_t>{1, 3});
  EXPECT_EQ(result.tokens, 4);
  EXPECT_EQ(result.windows, 2);
  EXPECT_DOUBLE_EQ(result.nll.mean, 3);
  EXPECT_DOUBLE_EQ(result.perplexity, std::exp(3.0));
  // Windows deviate by 1 - 3 and 11 - 9; 2 / (2 - 1) * (4 + 4) over 4^2.
  EXPECT_DOUBLE_EQ(result.nll.standard_error, 1);
  EXPECT_DOUBLE_EQ(result.standard_error, std::exp(3.0));
}

TEST(Perplexity, SummaryOfOneWindowKnowsNoError) {
  EXPECT_TRUE(
      std::isnan(SummarizeNlls(std::vector<double>{2, 3}, std::vector<int64_t>{2}).standard_error));
  EXPECT_ERROR("at least one token", SummarizeNlls({}, {}));
}

PerplexityResult Measure(const Model& model, std::span<const int32_t> tokens, int64_t context,
                         int threads, std::span<const int32_t> prefix = {}) {
  ThreadPool pool(threads);
  return MeasurePerplexity(model, tokens, prefix, {.context = context}, pool, nullptr);
}

class TinyModelPerplexity : public ::testing::Test {
 protected:
  ThreadPool pool_{1};
  std::shared_ptr<const Model> model_ = LoadModel(TinyPath("tiny-llama-f32"), pool_);
  std::vector<int32_t> tokens_ = GoldenTokens();
};

TEST_F(TinyModelPerplexity, GivesTheLogitsOfTheScoredTokens) {
  std::vector<float> logits;
  const PerplexityOptions options = {.context = 1024,
                                     .on_logits = [&](std::span<const float> rows) {
                                       logits.insert(logits.end(), rows.begin(), rows.end());
                                     }};
  const PerplexityResult result =
      MeasurePerplexity(*model_, tokens_, /*prefix=*/{}, options, pool_, nullptr);
  const auto vocab = static_cast<size_t>(model_->config().vocab);
  ASSERT_EQ(logits.size(), vocab * static_cast<size_t>(result.tokens));
  double sum = 0;
  for (size_t i = 0; i + 1 < tokens_.size(); ++i) {
    sum += NegativeLogLikelihood(std::span(logits).subspan(i * vocab, vocab), tokens_[i + 1]);
  }
  EXPECT_NEAR(sum / static_cast<double>(result.tokens), result.nll.mean, 1e-12);
}

// The logits of transformers, both sides in float32: they differ by about 1e-5.
TEST_F(TinyModelPerplexity, AgreesWithTransformers) {
  const std::string bytes = ReadFile(TinyPath("tiny-llama-f32") / "logits.f32");
  const auto vocab = static_cast<size_t>(model_->config().vocab);
  std::vector<float> logits(bytes.size() / sizeof(float));
  std::memcpy(logits.data(), bytes.data(), bytes.size());
  ASSERT_EQ(logits.size(), vocab * tokens_.size());
  double sum = 0;
  for (size_t i = 0; i + 1 < tokens_.size(); ++i) {
    sum += NegativeLogLikelihood(std::span(logits).subspan(i * vocab, vocab), tokens_[i + 1]);
  }
  const PerplexityResult result = Measure(*model_, tokens_, 256, 2);
  EXPECT_EQ(result.tokens, std::ssize(tokens_) - 1);
  EXPECT_NEAR(result.nll.mean, sum / static_cast<double>(result.tokens), 1e-4);
}

// Windows longer and shorter than what runs at a time, and beginnings that end within such a part,
// at its end and beyond the window.
TEST_F(TinyModelPerplexity, LeavesTheBeginningsOfWindowsOut) {
  std::vector<int32_t> tokens;
  while (tokens.size() < 400) tokens.insert(tokens.end(), tokens_.begin(), tokens_.end());
  tokens.resize(400);
  const auto vocab = static_cast<size_t>(model_->config().vocab);
  for (const int64_t context : {40, 200}) {
    std::vector<double> nlls;  // of all tokens but the first of each window
    PerplexityOptions options = {.context = context};
    std::vector<float> logits;
    options.on_logits = [&](std::span<const float> rows) {
      logits.insert(logits.end(), rows.begin(), rows.end());
    };
    MeasurePerplexity(*model_, tokens, /*prefix=*/{}, options, pool_, nullptr);
    for (size_t i = 0, row = 0; i < tokens.size(); ++i) {
      if (i % static_cast<size_t>(context) == 0) continue;
      nlls.push_back(
          NegativeLogLikelihood(std::span(logits).subspan(row++ * vocab, vocab), tokens[i]));
    }
    for (const int64_t unscored : {1, 17, 39, 129, 130, 199}) {
      if (unscored >= context) continue;
      double sum = 0;
      int64_t count = 0;
      for (size_t i = 0, row = 0; i < tokens.size(); ++i) {
        const auto position = static_cast<int64_t>(i) % context;
        if (position == 0) continue;
        sum += position >= unscored ? nlls[row] : 0;
        count += position >= unscored;
        ++row;
      }
      const PerplexityResult result =
          MeasurePerplexity(*model_, tokens, /*prefix=*/{},
                            {.context = context, .unscored = unscored}, pool_, nullptr);
      EXPECT_EQ(result.tokens, count);
      EXPECT_NEAR(result.nll.mean, sum / static_cast<double>(count), 1e-12) << unscored;
    }
  }
  EXPECT_ERROR("at least one token",
               MeasurePerplexity(*model_, tokens, /*prefix=*/{}, {.context = 40, .unscored = 40},
                                 pool_, nullptr));
}

TEST_F(TinyModelPerplexity, WindowsDoNotKnowEachOther) {
  const PerplexityResult both = Measure(*model_, std::span(tokens_).first(30), 20, 1);
  const PerplexityResult first = Measure(*model_, std::span(tokens_).first(20), 20, 1);
  const PerplexityResult second = Measure(*model_, std::span(tokens_).subspan(20, 10), 20, 1);
  EXPECT_EQ(first.tokens, 19);
  EXPECT_EQ(second.tokens, 9);
  EXPECT_EQ(both.tokens, 28);
  EXPECT_DOUBLE_EQ(both.nll.mean, (first.nll.mean * 19 + second.nll.mean * 9) / 28);
}

TEST_F(TinyModelPerplexity, PrefixStartsEachWindowAndIsNotScored) {
  const std::vector<int32_t> bos = {1};
  const PerplexityResult result = Measure(*model_, std::span(tokens_).first(30), 16, 1, bos);
  EXPECT_EQ(result.tokens, 30);
  std::vector<int32_t> window = bos;
  window.insert(window.end(), tokens_.begin(), tokens_.begin() + 15);
  const PerplexityResult by_hand = Measure(*model_, window, 16, 1);
  EXPECT_EQ(by_hand.nll.mean, Measure(*model_, std::span(tokens_).first(15), 16, 1, bos).nll.mean);
}

// Windows of 280 and 20 tokens; the first in chunks of 128, 128 and 23 rows.
TEST_F(TinyModelPerplexity, DoesNotDependOnThreads) {
  for (const char* name : {"tiny-llama-f32", "tiny-llama-w4a8"}) {
    const auto model = LoadModel(TinyPath(name), pool_);
    std::vector<int32_t> tokens;
    for (int i = 0; i < 300; ++i)
      tokens.push_back(tokens_[static_cast<size_t>(i) % tokens_.size()]);
    const PerplexityResult one = Measure(*model, tokens, 280, 1);
    const PerplexityResult three = Measure(*model, tokens, 280, 3);
    EXPECT_EQ(one.tokens, 298);
    EXPECT_EQ(one.perplexity, three.perplexity) << name;
    EXPECT_EQ(one.standard_error, three.standard_error) << name;
  }
}

// Of tiny-llama-w4a8 layer 0 is static; its scales are of the golden tokens.
TEST_F(TinyModelPerplexity, CountsSaturation) {
  const auto model = LoadModel(TinyPath("tiny-llama-w4a8"), pool_);
  const PerplexityResult plain = Measure(*model, tokens_, 32, 1);
  for (const int threads : {1, 3}) {
    ThreadPool pool(threads);
    const ModelConfig& config = model->config();
    Saturation counts(config);
    const PerplexityResult counted = MeasurePerplexity(
        *model, tokens_, {}, {.context = 32, .saturation = &counts}, pool, nullptr);
    EXPECT_EQ(counted.perplexity, plain.perplexity);
    for (const ActSite site : kAllActSites) {
      EXPECT_EQ(counts.at(config, 0, site).rows, counted.tokens);
      EXPECT_EQ(counts.at(config, 0, site).values, counted.tokens * SiteInputs(config, site));
      EXPECT_EQ(counts.at(config, 1, site).rows, 0) << "a dynamic site";
    }
  }
}

TEST_F(TinyModelPerplexity, RefusesWhatCannotBeScored) {
  EXPECT_ERROR("at least one token", Measure(*model_, std::span(tokens_).first(1), 20, 1));
  EXPECT_ERROR("at least one token", Measure(*model_, {}, 20, 1));
  EXPECT_ERROR("at least 2", Measure(*model_, tokens_, 1, 1));
  EXPECT_ERROR("100000", Measure(*model_, std::vector<int32_t>{1, 100000}, 20, 1));
}

TEST_F(TinyModelPerplexity, ReportsProgressToTheEnd) {
  std::vector<int64_t> seen;
  MeasurePerplexity(*model_, std::span(tokens_).first(25), {}, {.context = 10}, pool_,
                    [&](std::string_view, int64_t done, int64_t total) {
                      EXPECT_EQ(total, 25);
                      seen.push_back(done);
                    });
  EXPECT_EQ(seen, (std::vector<int64_t>{10, 20, 25}));
}

}  // namespace
}  // namespace fptq
