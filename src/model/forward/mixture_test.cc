// Which experts a row takes. That whole models agree with transformers, whatever the batch:
// model_test.cc.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/test_util.h"
#include "model/model.h"
#include "model/transformer.h"
#include "model/weights/float_layer.h"

namespace fptq {
namespace {

constexpr int64_t kHidden = 32, kExperts = 5, kRows = 3;

// A mixture whose router has the rows of the unit matrix: the scores of a row are its first inputs.
struct Routed {
  ModelConfig config;
  LayerWeights weights;
  ThreadPool pool{2};

  Routed(int64_t active, bool normalized, bool shared = false) {
    config.hidden = kHidden;
    config.heads = config.kv_heads = 1;
    config.head_dim = config.mlp = 32;
    config.vocab = 1;
    config.layers = 1;
    config.arch = &FindArch("mixtral", "test");
    config.mixture = {.experts = kExperts,
                      .active = active,
                      .width = 32,
                      .shared_width = shared ? 32 : 0,
                      .normalized = normalized,
                      .layers = {}};
    weights.router = Unit(kExperts);
    weights.shared_gate = Unit(1);
  }

  Linear Unit(int64_t channels) {
    SourceLinear linear;
    linear.channels = channels;
    linear.k = kHidden;
    linear.weight.Resize(channels * kHidden);
    for (int64_t i = 0; i < channels; ++i) linear.weight[i * kHidden + i] = 1;
    return FloatLinear({&linear, 1}, pool);
  }

  // {row, weight} by MLP.
  std::vector<std::vector<std::pair<int64_t, float>>> Route(
      const std::vector<std::vector<float>>& scores) {
    Activations act(config, kRows, /*max_logits_rows=*/0);
    for (size_t row = 0; row < scores.size(); ++row) {
      std::ranges::copy(scores[row], act.hidden.data() + static_cast<int64_t>(row) * kHidden);
    }
    RouteRows(config, weights, std::ssize(scores), pool, act);
    std::vector<std::vector<std::pair<int64_t, float>>> result;
    for (size_t mlp = 0; mlp < MlpsOf(config, 0).size(); ++mlp) {
      auto& rows = result.emplace_back();
      for (const auto& [row, weight] : act.routing.RowsOf(mlp)) rows.emplace_back(row, weight);
    }
    return result;
  }
};

using Rows = std::vector<std::pair<int64_t, float>>;

TEST(RouteRows, TakesTheExpertsOfTheLargestScores) {
  const auto found = Routed(/*active=*/2, /*normalized=*/true)
                         .Route({{0, 0, std::log(3.0f), 0, std::log(9.0f)}, {7, 7, 6, 5, 4}});
  EXPECT_EQ(found[0], (Rows{{1, 0.5f}}));
  EXPECT_EQ(found[1], (Rows{{1, 0.5f}}));
  EXPECT_EQ(found[2].size(), 1u);
  EXPECT_EQ(found[3], Rows());
  EXPECT_EQ(found[4][0].first, 0);
  EXPECT_FLOAT_EQ(found[2][0].second, 0.25f);
  EXPECT_FLOAT_EQ(found[4][0].second, 0.75f);
}

TEST(RouteRows, PrefersTheLowerOfEqualExperts) {
  const auto found = Routed(/*active=*/2, /*normalized=*/true).Route({{1, 2, 2, 2, 1}});
  EXPECT_EQ(found[1], (Rows{{0, 0.5f}}));
  EXPECT_EQ(found[2], (Rows{{0, 0.5f}}));
  EXPECT_EQ(found[3], Rows());
}

TEST(RouteRows, WeighsByTheSoftmaxOfAllUnlessNormalized) {
  const auto found =
      Routed(/*active=*/1, /*normalized=*/false).Route({{0, 0, std::log(4.0f), 0, 0}});
  EXPECT_FLOAT_EQ(found[2].at(0).second, 0.5f);
  EXPECT_EQ(Routed(1, /*normalized=*/true).Route({{0, 0, 9, 0, 0}})[2], (Rows{{0, 1.0f}}));
}

TEST(RouteRows, GivesAllRowsToTheSharedExpert) {
  const auto found = Routed(/*active=*/5, /*normalized=*/true, /*shared=*/true)
                         .Route({{0, 1, 1, 1, 1}, {std::log(3.0f), 1, 1, 1, 1}});
  ASSERT_EQ(found.size(), 6u);
  for (size_t expert = 0; expert < 5; ++expert) EXPECT_EQ(found[expert].size(), 2u);
  EXPECT_EQ(found[5][0], (std::pair<int64_t, float>{0, 0.5f}));
  EXPECT_FLOAT_EQ(found[5][1].second, 0.75f);
}

// What overflowed becomes NaN, which the logits show; a row still takes as many experts.
TEST(RouteRows, TakesScoresThatAreNotFinite) {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  for (const float score : {kNan, kInfinity, -kInfinity}) {
    const auto found = Routed(2, true).Route({{0, score, 2, score, 1}, {5, 4, 0, 0, 0}});
    size_t taken = 0;
    for (const Rows& rows : found) taken += rows.size();
    EXPECT_EQ(taken, 4u);
    EXPECT_EQ(found[0].back().first, 1);
    EXPECT_EQ(found[1].back().first, 1);
  }
}

}  // namespace
}  // namespace fptq
