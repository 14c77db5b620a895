#include "eval/perplexity.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "base/test_util.h"

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
  const PerplexityResult result = SummarizeNlls(std::vector<double>{1, 2, 3, 6});
  EXPECT_EQ(result.tokens, 4);
  EXPECT_DOUBLE_EQ(result.mean_nll, 3);
  EXPECT_DOUBLE_EQ(result.perplexity, std::exp(3.0));
  // Squared deviations 4 + 1 + 0 + 9, over n - 1 = 3 and n = 4.
  EXPECT_DOUBLE_EQ(result.standard_error, std::exp(3.0) * std::sqrt(14.0 / 12.0));
}

TEST(Perplexity, SummaryOfOneTokenHasNoError) {
  EXPECT_EQ(SummarizeNlls(std::vector<double>{2}).standard_error, 0);
  EXPECT_ERROR("at least one token", SummarizeNlls({}));
}

}  // namespace
}  // namespace fptq
