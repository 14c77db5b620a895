#include "quant/decide/equalize.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

#include "model/weights/float_layer.h"
#include "quant/round/storage.h"

namespace fptq {
namespace {

TEST(LaeScales, EqualsTheFormula) {
  const std::vector<float> absmax = {0.01f, 1, 14, 62, 1000};
  const std::vector<float> scales = LaeScales(absmax);
  for (size_t j = 0; j < absmax.size(); ++j) {
    const double m = absmax[j];
    EXPECT_EQ(scales[j], static_cast<float>(m / std::log2(2 + m)));
  }
  EXPECT_EQ(scales[2], 3.5f);          // 14 / log2(16)
  EXPECT_EQ(scales[3], 62.0f / 6.0f);  // 62 / log2(64)
}

TEST(LaeScales, LeavesDeadChannelsAlone) {
  const float infinity = std::numeric_limits<float>::infinity();
  for (const float scale : LaeScales(std::vector<float>{0, 1e-42f, infinity, NAN}))
    EXPECT_EQ(scale, 1);
}

TEST(EqualizedRange, IsTheLogarithmOfTheRange) {
  const std::vector<float> absmax = {0, 1, 14, 126};
  // log2(128), to the rounding of s to float.
  EXPECT_NEAR(EqualizedRange(absmax, LaeScales(absmax)), 7, 7 * 0x1p-23);
}

// X = norm * H and W become X' and W' with X' W'^T = X W^T.
TEST(Equalize, KeepsTheProduct) {
  constexpr int64_t kRows = 5, kInputs = 64, kChannels = 9;
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  std::vector<float> h(kRows * kInputs);
  Norm norm{.weight = std::vector<float>(kInputs), .bias = {}};
  for (float& value : h) value = normal(random);
  for (float& value : norm.weight) value = std::exp(2 * normal(random));
  norm.weight[3] = 0;    // dead
  norm.weight[7] = -90;  // an outlier
  for (int64_t r = 0; r < kRows; ++r)
    h[static_cast<size_t>(r * kInputs + 5)] = 2;  // constant channel
  for (int64_t r = 0; r < kRows; ++r) h[static_cast<size_t>(r * kInputs + 6)] = 0;  // dead channel
  std::fill_n(h.begin() + 2 * kInputs, kInputs, 0.0f);                              // zero row
  SourceLinear linear{.name = "m", .channels = kChannels, .k = kInputs, .weight = {}, .bias = {}};
  linear.weight.Resize(kChannels * kInputs);
  for (float& w : linear.weight.span()) w = normal(random);

  const auto product = [&](int64_t r, int64_t n, double& magnitude) {
    double sum = 0;
    magnitude = 0;
    for (int64_t j = 0; j < kInputs; ++j) {
      const double term = double{norm.weight[static_cast<size_t>(j)]} *
                          h[static_cast<size_t>(r * kInputs + j)] * linear.weight[n * kInputs + j];
      sum += term;
      magnitude += std::abs(term);
    }
    return sum;
  };
  std::vector<float> absmax(kInputs);
  for (size_t i = 0; i < h.size(); ++i) {
    const size_t j = i % kInputs;
    absmax[j] = std::max(absmax[j], std::abs(norm.weight[j] * h[i]));
  }
  const Norm original_norm = norm;
  const AlignedBuffer<float> original_weight = [&] {
    AlignedBuffer<float> copy(linear.weight.size());
    std::copy_n(linear.weight.data(), copy.size(), copy.data());
    return copy;
  }();
  for (const DataType dtype : {DataType::kF32, DataType::kF16, DataType::kBF16}) {
    norm = original_norm;
    std::copy_n(original_weight.data(), original_weight.size(), linear.weight.data());
    std::vector<double> before, magnitudes;
    for (int64_t i = 0; i < kRows * kChannels; ++i) {
      double magnitude = 0;
      before.push_back(product(i / kChannels, i % kChannels, magnitude));
      magnitudes.push_back(magnitude);
    }
    std::vector<float> scales = LaeScales(absmax);
    FoldIntoNorm(norm, dtype, /*offset=*/0, scales);
    ThreadPool pool(2);
    ScaleInputs({&linear, 1}, scales, pool);
    EXPECT_EQ(norm.weight[3], 0);
    EXPECT_EQ(scales[3], 1);
    EXPECT_LT(std::abs(norm.weight[7]), 0.2f * 90);
    for (const float value : norm.weight) EXPECT_EQ(value, RoundToStored(value, dtype));
    for (int64_t i = 0; i < kRows * kChannels; ++i) {
      double magnitude = 0;
      const double after = product(i / kChannels, i % kChannels, magnitude);
      // Two roundings of each term to float, of s and of w * s: the 16-bit rounding of the norm is
      // made up for. Only channel 6, which is dead, keeps its norm as it was rounded.
      EXPECT_NEAR(after, before[static_cast<size_t>(i)],
                  2 * 0x1p-23 * magnitudes[static_cast<size_t>(i)]);
    }
  }
}

TEST(FoldIntoNorm, KeepsChannelsThatWouldLeaveTheType) {
  Norm norm{.weight = {1, 1, 1}, .bias = {}};
  std::vector<float> scales = {1e6f, 1e-6f, 2};
  FoldIntoNorm(norm, DataType::kF16, /*offset=*/0,
               scales);  // 1e-6 is denormal, 1e6 is infinite in F16
  EXPECT_EQ(scales, (std::vector<float>{1, 1, 2}));
  EXPECT_EQ(norm.weight, (std::vector<float>{1, 1, 0.5f}));
}

}  // namespace
}  // namespace fptq
