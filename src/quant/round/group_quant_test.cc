#include "quant/round/group_quant.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

#include "base/half.h"
#include "base/test_util.h"
#include "model/weights/float_layer.h"
#include "quant/round/storage.h"

namespace fptq {
namespace {

SourceLinear RandomLinear(int64_t channels, int64_t k, unsigned seed) {
  SourceLinear linear{.name = "m", .channels = channels, .k = k, .weight = {}, .bias = {}};
  linear.weight.Resize(channels * k);
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, 0.05f);
  for (float& w : linear.weight.span()) w = normal(random);
  return linear;
}

std::vector<float> Ones(int64_t k) { return std::vector<float>(static_cast<size_t>(k), 1.0f); }

GroupQuantized Quantize(const SourceLinear& linear, std::span<const float> d, int64_t group_size,
                        DataType dtype = DataType::kF32, bool symmetric = true, int threads = 1) {
  ThreadPool pool(threads);
  return QuantizeGroups(linear, d, {.size = group_size, .dtype = dtype, .symmetric = symmetric},
                        pool);
}

double Weight(const GroupQuantized& quantized, int64_t i) {
  const int64_t group = i / quantized.group_size;
  return double{quantized.scales[static_cast<size_t>(group)]} *
         (quantized.q[static_cast<size_t>(i)] - quantized.ZeroPoint(group));
}

// sum d (w - s (q - z))^2 over everything.
double Error(const SourceLinear& linear, std::span<const float> d,
             const GroupQuantized& quantized) {
  double error = 0;
  for (int64_t i = 0; i < linear.weight.size(); ++i) {
    const double difference = linear.weight[i] - Weight(quantized, i);
    error += d[static_cast<size_t>(i % linear.k)] * difference * difference;
  }
  return error;
}

// Rounding to the nearest with scale absmax / 7.
double PlainError(const SourceLinear& linear, std::span<const float> d, int64_t group_size) {
  double error = 0;
  for (int64_t first = 0; first < linear.weight.size(); first += group_size) {
    double absmax = 0;
    for (int64_t i = first; i < first + group_size; ++i) {
      absmax = std::max(absmax, std::abs(double{linear.weight[i]}));
    }
    const double s = absmax / 7;
    for (int64_t i = first; i < first + group_size; ++i) {
      const double difference = linear.weight[i] - s * std::round(linear.weight[i] / s);
      error += d[static_cast<size_t>(i % linear.k)] * difference * difference;
    }
  }
  return error;
}

TEST(GroupSizeFor, FallsToWhatDividesK) {
  EXPECT_EQ(GroupSizeFor(1536, 128), 128);
  EXPECT_EQ(GroupSizeFor(576, 128), 64);
  EXPECT_EQ(GroupSizeFor(96, 128), 32);
  EXPECT_EQ(GroupSizeFor(1536, 32), 32);
  EXPECT_EQ(GroupSizeFor(100, 128), 0);
}

// Groups whose scale the type of storage does not have: not all of them is lost, nor does it become
// infinite.
TEST(QuantizeGroups, KeepsWeightsAtTheEndsOfTheType) {
  for (const DataType dtype : {DataType::kF32, DataType::kF16, DataType::kBF16}) {
    const float smallest = dtype == DataType::kF16 ? 0x1p-24f : 0x1p-126f;
    const float largest = LargestStored(dtype);
    for (const float w : {3 * smallest, largest / 16 * 7, 2.0f * std::min(largest, 1e30f)}) {
      SourceLinear linear = RandomLinear(1, 64, 1);
      for (int64_t i = 0; i < 64; ++i) linear.weight[i] = i % 2 == 0 ? w : -w;
      const GroupQuantized quantized = Quantize(linear, Ones(64), 32, dtype);
      for (size_t i = 0; i < 64; ++i) {
        const float scale = quantized.scales[i / 32];
        EXPECT_EQ(scale, RoundToStored(scale, dtype));
        EXPECT_NEAR(scale * quantized.q[i], linear.weight[static_cast<int64_t>(i)], 0.01f * w);
      }
      EXPECT_LT(quantized.relative_error, 0.01);
    }
  }
}

TEST(QuantizeGroups, IsFiniteForWhateverIsFinite) {
  constexpr float kDenormal = 1e-44f, kLargest = std::numeric_limits<float>::max();
  for (const DataType dtype : {DataType::kF32, DataType::kF16, DataType::kBF16}) {
    for (const float w : {0.0f, kDenormal, 100 * kDenormal, 1e-38f, 1e20f, kLargest}) {
      for (const float mean_square : {0.0f, kDenormal, 1e-20f, 1e20f, kLargest}) {
        SourceLinear linear = RandomLinear(1, 64, 1);
        for (int64_t i = 0; i < 64; ++i) linear.weight[i] = i % 3 == 0 ? w : -w;
        std::vector<float> d = Ones(64);
        for (size_t i = 0; i < 40; ++i) d[i] = mean_square;
        for (const bool symmetric : {true, false}) {
          const GroupQuantized quantized = Quantize(linear, d, 32, dtype, symmetric);
          for (const float scale : quantized.scales) EXPECT_TRUE(std::isnormal(1 / scale)) << w;
          for (const int8_t q : quantized.q) EXPECT_TRUE(q >= -8 && q <= 7) << w;
          for (const int8_t zero : quantized.zero_points) EXPECT_TRUE(zero >= -8 && zero <= 7) << w;
        }
      }
    }
  }
}

// Weights on a grid of 16 values are found again exactly, whichever end of the grid has the 8
// steps.
TEST(QuantizeGroups, RecoversAGrid) {
  for (const float step : {0.25f, -0.25f}) {
    SourceLinear linear = RandomLinear(4, 64, 1);
    for (int64_t i = 0; i < linear.weight.size(); ++i) {
      linear.weight[i] = step * static_cast<float>((i * 7 + i / 16) % 16 - 8);
    }
    const GroupQuantized quantized = Quantize(linear, Ones(64), 32);
    for (int64_t i = 0; i < linear.weight.size(); ++i) {
      const auto u = static_cast<size_t>(i);
      EXPECT_NEAR(quantized.scales[u / 32] * quantized.q[u], linear.weight[i], 1e-6);
    }
    EXPECT_NEAR(quantized.relative_error, 0, 1e-6);
  }
}

// Wherever 0 lies among the 16 values, or beyond them by less than a step.
TEST(QuantizeGroups, RecoversAGridWithZeroPoints) {
  for (int zero_point = -8; zero_point <= 7; ++zero_point) {
    SourceLinear linear = RandomLinear(4, 64, 1);
    for (int64_t i = 0; i < linear.weight.size(); ++i) {
      linear.weight[i] = 0.25f * static_cast<float>((i * 7 + i / 16) % 16 - 8 - zero_point);
    }
    const GroupQuantized quantized =
        Quantize(linear, Ones(64), 32, DataType::kF32, /*symmetric=*/false);
    for (int64_t i = 0; i < linear.weight.size(); ++i) {
      EXPECT_NEAR(Weight(quantized, i), linear.weight[i], 1e-6) << zero_point;
    }
    for (const int8_t found : quantized.zero_points) EXPECT_EQ(found, zero_point);
  }
}

// Groups that are all on one side of 0, and those that are the same everywhere.
TEST(QuantizeGroups, ZeroPointsTakeGroupsOfOneSign) {
  SourceLinear linear = RandomLinear(2, 64, 1);
  for (int64_t i = 0; i < 64; ++i) linear.weight[i] = -1 - 0.01f * static_cast<float>(i);
  for (int64_t i = 64; i < 128; ++i) linear.weight[i] = 3;
  const GroupQuantized quantized =
      Quantize(linear, Ones(64), 64, DataType::kF32, /*symmetric=*/false);
  for (int64_t i = 0; i < 64; ++i) {
    EXPECT_NEAR(Weight(quantized, i), linear.weight[i], 1.63 / 15);
    EXPECT_NEAR(Weight(quantized, 64 + i), 3, 1e-5);
  }
}

// With the same scales and q there are more grids: no group is worse, and normal weights in small
// groups lose a tenth less.
TEST(QuantizeGroups, ZeroPointsLowerTheError) {
  const SourceLinear linear = RandomLinear(32, 256, 2);
  const std::vector<float> d = Ones(256);
  const double with = Error(linear, d, Quantize(linear, d, 32, DataType::kF32, false));
  EXPECT_LT(with, 0.93 * Error(linear, d, Quantize(linear, d, 32)));
}

// The search over scales of both signs lowers the squared error of normal weights by a quarter and
// more.
TEST(QuantizeGroups, BeatsPlainRounding) {
  const SourceLinear linear = RandomLinear(32, 256, 2);
  const std::vector<float> d = Ones(256);
  const GroupQuantized quantized = Quantize(linear, d, 128);
  EXPECT_LT(Error(linear, d, quantized), 0.75 * PlainError(linear, d, 128));
  bool uses_minus_8 = false, negative_scale = false, positive_scale = false;
  for (const int8_t q : quantized.q) {
    EXPECT_TRUE(q >= -8 && q <= 7);
    uses_minus_8 |= q == -8;
  }
  for (const float scale : quantized.scales) (scale < 0 ? negative_scale : positive_scale) = true;
  EXPECT_TRUE(uses_minus_8 && negative_scale && positive_scale);
}

TEST(QuantizeGroups, MinimizesTheErrorWeightedByActivations) {
  const SourceLinear linear = RandomLinear(16, 128, 3);
  std::vector<float> d = Ones(128);
  for (size_t j = 0; j < 8; ++j) d[j] = 1000;
  const GroupQuantized weighted = Quantize(linear, d, 128);
  const GroupQuantized plain = Quantize(linear, Ones(128), 128);
  EXPECT_LT(Error(linear, d, weighted), 0.6 * Error(linear, d, plain));
  // Reported with a floor of 1 % of the mean under d, so not quite the same.
  double norm = 0;
  for (int64_t i = 0; i < linear.weight.size(); ++i) {
    norm += d[static_cast<size_t>(i % 128)] * linear.weight[i] * linear.weight[i];
  }
  EXPECT_NEAR(weighted.relative_error, std::sqrt(Error(linear, d, weighted) / norm),
              0.02 * weighted.relative_error);
}

TEST(QuantizeGroups, ChoosesQForTheStoredScale) {
  const SourceLinear linear = RandomLinear(8, 64, 4);
  const GroupQuantized quantized = Quantize(linear, Ones(64), 64, DataType::kBF16);
  for (const float scale : quantized.scales) EXPECT_EQ(BF16ToF32(F32ToBF16(scale)), scale);
  for (int64_t i = 0; i < linear.weight.size(); ++i) {
    const float scale = quantized.scales[static_cast<size_t>(i / 64)];
    const float q = std::clamp(std::nearbyint(linear.weight[i] / scale), -8.0f, 7.0f);
    EXPECT_EQ(quantized.q[static_cast<size_t>(i)], q);
  }
}

TEST(QuantizeGroups, SurvivesCorners) {
  SourceLinear linear = RandomLinear(6, 32, 5);
  const auto fill = [&](int64_t row, float value) {
    std::fill_n(linear.weight.data() + row * 32, 32, value);
  };
  fill(0, 0);       // zero row
  fill(1, 0.5f);    // constant row
  fill(2, 1e-42f);  // denormal
  fill(3, 1e-9f);   // its scale is zero in F16
  fill(4, 0);
  linear.weight[4 * 32 + 3] = 1;  // one weight alone
  for (const DataType dtype : {DataType::kF32, DataType::kF16, DataType::kBF16}) {
    for (const float activation : {0.0f, 1.0f, 1e30f}) {  // 0: dead channels everywhere
      const std::vector<float> d(32, activation);
      const GroupQuantized quantized = Quantize(linear, d, 32, dtype);
      for (const float scale : quantized.scales) EXPECT_TRUE(std::isfinite(scale) && scale != 0);
      for (size_t i = 0; i < 32; ++i) {
        EXPECT_EQ(quantized.q[i], 0);
        // One step of the type below 0.5 / 7 or 0.5 / 8.
        EXPECT_NEAR(quantized.scales[1] * quantized.q[32 + i], 0.5f, 0.5f * 0x1p-8f);
        EXPECT_EQ(quantized.q[64 + i], 0);
      }
      EXPECT_NEAR(quantized.scales[4] * quantized.q[4 * 32 + 3], 1.0f, 0x1p-8f);
    }
  }
}

TEST(QuantizeGroups, DoesNotDependOnThreads) {
  const SourceLinear linear = RandomLinear(37, 128, 6);
  const GroupQuantized one = Quantize(linear, Ones(128), 32, DataType::kF16, false, 1);
  const GroupQuantized three = Quantize(linear, Ones(128), 32, DataType::kF16, false, 3);
  EXPECT_EQ(one.q, three.q);
  EXPECT_EQ(one.scales, three.scales);
  EXPECT_EQ(one.zero_points, three.zero_points);
  EXPECT_EQ(one.relative_error, three.relative_error);
}

}  // namespace
}  // namespace fptq
