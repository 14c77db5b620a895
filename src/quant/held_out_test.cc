#include "quant/held_out.h"

#include <gtest/gtest.h>

#include <random>

#include "quant/nearest.h"

namespace fptq {
namespace {

constexpr int64_t kK = 64, kChannels = 48, kRows = 40;

// Inputs with the last channel as large as `outlier`.
SiteStatistics Inputs(float outlier, uint32_t seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal;
  SiteStatistics inputs;
  inputs.absmax.resize(kK);
  inputs.sum_squares.resize(kK);
  inputs.sample_rows = kRows;
  inputs.held_out = true;
  inputs.sample.Resize(kRows * kK);
  for (int64_t i = 0; i < kRows * kK; ++i) {
    inputs.sample[i] = normal(generator) * (i % kK == kK - 1 ? outlier : 1);
  }
  return inputs;
}

SourceLinear RandomLinear() {
  std::mt19937 generator(1);
  std::normal_distribution<float> normal(0, 0.05f);
  SourceLinear linear = {.name = "m", .channels = kChannels, .k = kK, .weight = {}, .bias = {}};
  linear.weight.Resize(kChannels * kK);
  for (float& weight : linear.weight.span()) weight = normal(generator);
  return linear;
}

TEST(HeldOut, DequantizesSomeChannels) {
  ThreadPool pool(2);
  const SourceLinear linear = RandomLinear();
  const std::vector<float> ones(kK, 1.0f);
  const GroupQuantized rounded = QuantizeNearest(linear, ones, 8, 32, DataType::kF32, pool);
  const SourceLinear part = RoundedChannels(rounded, kK, 5, 7, pool);
  ASSERT_EQ(part.weight.size(), 7 * kK);
  for (int64_t i = 0; i < 7 * kK; ++i) {
    // Half a step of 8 bits, up to which the largest weights are 0.2.
    EXPECT_NEAR(part.weight[i], linear.weight[5 * kK + i], 0.2f / 127);
  }
}

TEST(HeldOut, TakesWhatLosesLeastOnTheSample) {
  ThreadPool pool(2);
  const SourceLinear linear = RandomLinear();
  const std::vector<float> ones(kK, 1.0f);
  std::vector<float> last(kK, 1e-4f);
  last.back() = 1;
  const std::vector<GroupQuantized> roundings = {
      QuantizeGroups(linear, ones, 32, DataType::kF32, pool),
      QuantizeGroups(linear, last, 32, DataType::kF32, pool),
      QuantizeGroups(linear, ones, 32, DataType::kF32, pool),
  };
  // Of equal ones the first, whatever the weights were rounded for.
  EXPECT_EQ(LeastErrorOf(linear, roundings, Inputs(/*outlier=*/1, 2), pool), 0u);
  EXPECT_EQ(LeastErrorOf(linear, roundings, Inputs(/*outlier=*/100, 3), pool), 1u);
}

}  // namespace
}  // namespace fptq
