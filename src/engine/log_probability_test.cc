#include "engine/log_probability.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "base/test_util.h"

namespace fptq {
namespace {

const std::vector<int32_t> kIds = {0, 1, 2, 3};

// In double, without base/math.h; that is the tolerance.
TEST(LogProbability, IsTheLogarithmOfTheSoftmax) {
  const std::vector<float> logits = {1.5f, -2, 800, 799.25f};
  const TokenLogProbability score = ScoreToken(logits, 3, kIds, /*top=*/2);
  EXPECT_EQ(score.token, 3);
  EXPECT_NEAR(score.log_probability, -0.75 - std::log(1 + std::exp(-0.75)), 1e-15);
  ASSERT_EQ(score.top.size(), 2u);
  EXPECT_EQ(score.top[0].token, 2);
  EXPECT_NEAR(score.top[0].log_probability, -std::log(1 + std::exp(-0.75)), 1e-15);
  EXPECT_EQ(score.top[1].token, 3);
  EXPECT_EQ(score.top[1].log_probability, score.log_probability);
}

TEST(LogProbability, EqualOnesComeInTheOrderOfTheirIds) {
  const std::vector<float> logits = {1, 2, 1, 2};
  for (int64_t top = 0; top <= 6; ++top) {
    const auto listed = ScoreToken(logits, 0, kIds, top).top;
    const std::vector<int32_t> expected = {1, 3, 0, 2};
    ASSERT_EQ(std::ssize(listed), std::min<int64_t>(top, 4));
    for (size_t i = 0; i < listed.size(); ++i) EXPECT_EQ(listed[i].token, expected[i]) << top;
  }
}

// Rows of a padded head count, since the model gives them a share, but are not listed.
TEST(LogProbability, ListsTokensOfTheVocabularyAlone) {
  const std::vector<float> logits = {0, 1, 2, 3, 9};
  const TokenLogProbability score = ScoreToken(logits, 3, kIds, 5);
  EXPECT_EQ(score.top.size(), 4u);
  EXPECT_EQ(score.top[0].token, 3);
  EXPECT_LT(score.log_probability, -6);
}

TEST(LogProbability, RefusesLogitsThatAreNotNumbers) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  for (const float bad : {std::nanf(""), kInfinity}) {
    for (size_t at = 0; at < 4; ++at) {
      std::vector<float> logits = {0, 1, 2, 3};
      logits[at] = bad;
      EXPECT_ERROR("not finite", ScoreToken(logits, 1, kIds, 0));
    }
  }
  EXPECT_ERROR("not finite", ScoreToken(std::vector<float>(4, -kInfinity), 1, kIds, 0));
  EXPECT_EQ(ScoreToken(std::vector<float>{-kInfinity, 0, 0, 0}, 0, kIds, 0).log_probability,
            -kInfinity);
}

}  // namespace
}  // namespace fptq
