#include "quant/round/nearest.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "model/weights/float_layer.h"
#include "quant/round/storage.h"

namespace fptq {
namespace {

TEST(QuantizeNearest, IsHalfAStepAway) {
  constexpr int64_t kChannels = 5, kInputs = 64, kGroup = 32;
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  SourceLinear linear{.name = "m", .channels = kChannels, .k = kInputs, .weight = {}, .bias = {}};
  linear.weight.Resize(kChannels * kInputs);
  for (float& w : linear.weight.span()) w = normal(random);
  for (int64_t i = 0; i < kGroup; ++i) linear.weight[i] = 0;  // a group of zeros
  const std::vector<float> ones(kInputs, 1.0f);
  ThreadPool pool(2);
  for (const int bits : {4, 8}) {
    const GroupQuantized result =
        QuantizeNearest(linear, ones, bits, {.size = kGroup, .dtype = DataType::kF16}, pool);
    const float largest = bits == 4 ? 7 : 127;
    double error = 0, norm = 0;
    for (int64_t i = 0; i < linear.weight.size(); ++i) {
      const float scale = result.scales[static_cast<size_t>(i / kGroup)];
      const float q = result.q[static_cast<size_t>(i)];
      EXPECT_EQ(scale, RoundToStored(scale, DataType::kF16));
      EXPECT_LE(std::abs(q), largest);
      // Half a step; where the stored scale was rounded down, the largest weight is cut by up to
      // 2^-11 of itself.
      const float difference = linear.weight[i] - scale * q;
      EXPECT_LE(std::abs(difference), scale * (0.5f + largest * 0x1p-11f));
      error += double{difference} * difference;
      norm += double{linear.weight[i]} * linear.weight[i];
    }
    EXPECT_NEAR(result.relative_error, std::sqrt(error / norm), 1e-6);
    EXPECT_EQ(result.scales[0], 1);
  }
}

// The largest and the smallest weight are the last and the first integer, or half a step from it.
TEST(QuantizeNearest, ZeroPointsTakeTheWholeRange) {
  constexpr int64_t kGroup = 32;
  ThreadPool pool(1);
  SourceLinear linear{.name = "m", .channels = 1, .k = 3 * kGroup, .weight = {}, .bias = {}};
  linear.weight.Resize(3 * kGroup);
  std::mt19937 random(1);
  std::uniform_real_distribution<float> uniform(-1, 3);
  for (int64_t i = 0; i < kGroup; ++i) linear.weight[i] = uniform(random);
  for (int64_t i = kGroup; i < 2 * kGroup; ++i) linear.weight[i] = -5;
  std::fill_n(linear.weight.data() + 2 * kGroup, kGroup, 0.0f);
  const std::vector<float> ones(3 * kGroup, 1.0f);
  const GroupQuantized result =
      QuantizeNearest(linear, ones, /*bits=*/4, {.size = kGroup, .symmetric = false}, pool);
  for (int64_t i = 0; i < linear.weight.size(); ++i) {
    const int64_t group = i / kGroup;
    const int q = result.q[static_cast<size_t>(i)];
    EXPECT_TRUE(q >= -8 && q <= 7);
    const float scale = result.scales[static_cast<size_t>(group)];
    const float found = scale * static_cast<float>(q - result.ZeroPoint(group));
    // The zero point is rounded, too.
    EXPECT_LE(std::abs(linear.weight[i] - found), scale * 1.001f);
  }
  EXPECT_NEAR(result.scales[0], 4.0f / 15, 0.05);
  EXPECT_EQ(result.scales[2], 1);
  EXPECT_TRUE(QuantizeNearest(linear, ones, 8, {.size = kGroup, .symmetric = false}, pool)
                  .zero_points.empty());
}

// Where the type of storage has no such scale, the nearest one that keeps something.
TEST(QuantizeNearest, KeepsWeightsAtTheEndsOfTheType) {
  ThreadPool pool(1);
  const std::vector<float> ones(32, 1.0f);
  SourceLinear linear{.name = "m", .channels = 1, .k = 32, .weight = {}, .bias = {}};
  linear.weight.Resize(32);
  const auto quantize = [&](float w, int bits) {
    std::ranges::fill(linear.weight.span(), w);
    return QuantizeNearest(linear, ones, bits, {.size = 32, .dtype = DataType::kF16}, pool);
  };
  for (const int bits : {4, 8}) {
    const GroupQuantized small = quantize(3 * 0x1p-24f, bits);  // a denormal of F16
    EXPECT_EQ(small.scales[0] * small.q[0], 3 * 0x1p-24f);
    const GroupQuantized large = quantize(1e9f, bits);
    EXPECT_EQ(large.scales[0], 65504);
    EXPECT_EQ(large.q[0], bits == 4 ? 7 : 127);
    for (const float w : {1e-44f, 1e-38f, -3e38f}) {
      const GroupQuantized extreme = quantize(w, bits);
      EXPECT_GT(extreme.scales[0], 0);
      EXPECT_TRUE(std::isfinite(extreme.scales[0]));
      EXPECT_LE(std::abs(extreme.q[0]), bits == 4 ? 7 : 127);
    }
  }
}

}  // namespace
}  // namespace fptq
