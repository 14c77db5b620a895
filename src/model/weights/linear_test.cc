#include "model/weights/linear.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <tuple>
#include <vector>

namespace fptq {
namespace {

constexpr int64_t kInputs = 64, kChannels = 5;
constexpr float kScale = 0.01f;

Linear MakeLinear(float static_scale) {
  QuantizedMatrix matrix = MakeQuantizedMatrix(/*bits=*/8, kChannels, kInputs, kInputs);
  std::vector<float> row(kInputs);
  for (int64_t channel = 0; channel < kChannels; ++channel) {
    for (int64_t i = 0; i < kInputs; ++i) {
      row[static_cast<size_t>(i)] = std::sin(static_cast<float>(7 * channel + i));
    }
    PackRowInt8(matrix, channel, row);
  }
  return {.weights = std::move(matrix), .bias = {}, .act = {.static_scale = static_scale}};
}

// A row of small values with some in its place.
std::vector<float> Row(const std::vector<float>& first) {
  std::vector<float> row;
  for (int64_t i = 0; i < kInputs; ++i) row.push_back(0.3f * std::cos(static_cast<float>(i)));
  std::copy(first.begin(), first.end(), row.begin());
  return row;
}

std::vector<float> Output(const Linear& linear, LinearInput& input, const std::vector<float>& row) {
  ThreadPool pool(1);
  std::vector<float> out(kChannels);
  input.Set(linear, 0, row.data());
  Apply(linear, input, 1, pool, out.data(), /*accumulate=*/false);
  return out;
}

// Each part gives what it gives alone, whatever stands beside it.
TEST(Apply, PartsInFormsOfTheirOwn) {
  constexpr int64_t kRows = 3;
  ThreadPool pool(2);
  std::vector<Linear> parts;
  parts.push_back(MakeLinear(/*static_scale=*/0));
  FloatMatrix matrix = MakeFloatMatrix(kChannels, kInputs);
  for (int64_t channel = 0; channel < kChannels; ++channel) PackRow(matrix, channel, Row({}));
  AlignedBuffer<float> bias(kChannels);
  bias[2] = 7;
  parts.push_back({.weights = std::move(matrix), .bias = std::move(bias), .act = {}});
  parts.push_back(MakeLinear(kScale));
  const auto run = [&](const Linear& linear, float before) {
    LinearInput input(kRows, kInputs);
    std::vector<float> out(static_cast<size_t>(kRows * linear.channels()), before);
    for (int64_t row = 0; row < kRows; ++row) {
      input.Set(linear, row, Row({0.1f * static_cast<float>(row)}).data());
    }
    Apply(linear, input, kRows, pool, out.data(), /*accumulate=*/before != 0);
    return out;
  };
  for (const float before : {0.0f, 2.0f}) {
    std::vector<float> expected(static_cast<size_t>(3 * kRows * kChannels));
    for (size_t part = 0; part < parts.size(); ++part) {
      const std::vector<float> alone = run(parts[part], before);
      for (size_t i = 0; i < alone.size(); ++i) {
        expected[i / kChannels * 3 * kChannels + part * kChannels + i % kChannels] = alone[i];
      }
    }
    Linear all{.weights = std::move(parts), .bias = {}, .act = {}};
    EXPECT_EQ(all.channels(), 3 * kChannels);
    EXPECT_EQ(all.k(), kInputs);
    EXPECT_FALSE(all.TakesInt8());
    EXPECT_EQ(run(all, before), expected);
    parts = std::move(std::get<Linear::Parts>(all.weights));
  }
}

// Integer weights whose inputs are float give the bits of the floats that they stand for, however
// many rows and tiles there are, in whatever order the weights have the inputs.
TEST(Apply, FloatInputsTakeIntegersAsTheFloatsTheyStandFor) {
  ThreadPool pool(2);
  std::mt19937 rng(1);
  const auto random = [&](int low, int high) {
    return std::uniform_int_distribution<int>(low, high)(rng);
  };
  // The last one is of so many inputs that tiles go one by one.
  for (const auto& [bits, symmetric, k, channels] :
       {std::tuple{4, true, 64, 5}, {4, false, 96, 70}, {8, true, 64, 50}, {4, false, 5120, 40}}) {
    constexpr int kGroup = 32;
    QuantizedMatrix integers = MakeQuantizedMatrix(bits, channels, k, kGroup, nullptr, symmetric);
    FloatMatrix floats = MakeFloatMatrix(channels, k);
    std::vector<int32_t> order(static_cast<size_t>(k));
    std::iota(order.begin(), order.end(), 0);
    std::ranges::shuffle(order, rng);
    std::vector<int8_t> q(order.size());
    std::vector<float> scales(order.size() / kGroup), row(order.size());
    std::vector<int16_t> zeros(scales.size());
    for (int64_t channel = 0; channel < channels; ++channel) {
      for (int8_t& x : q) x = static_cast<int8_t>(random(-(1 << (bits - 1)), 7));
      for (float& x : scales) x = 0.001f * static_cast<float>(random(-900, 900));
      for (int16_t& x : zeros) x = static_cast<int16_t>(symmetric ? 0 : random(-8, 8));
      for (size_t i = 0; i < q.size(); ++i) {
        row[static_cast<size_t>(order[i])] =
            scales[i / kGroup] * static_cast<float>(q[i] - zeros[i / kGroup]);
      }
      PackRow(integers, channel, q, scales, zeros);
      PackRow(floats, channel, row);
    }
    const auto bias = [&] {
      AlignedBuffer<float> values(channels);
      for (int64_t i = 0; i < channels; ++i) values[i] = static_cast<float>(i);
      return values;
    };
    const Linear expanded{.weights = std::move(integers),
                          .bias = bias(),
                          .act = {.is_float = true},
                          .input_order = order};
    const Linear plain{.weights = std::move(floats), .bias = bias(), .act = {}};
    EXPECT_FALSE(expanded.TakesInt8());
    EXPECT_LT(expanded.Bytes(), plain.Bytes() * 4 / 10);
    for (const int64_t rows : {1, 7, 100}) {
      std::vector<float> out[2];
      for (const Linear* linear : {&plain, &expanded}) {
        LinearInput input(rows, k);
        std::vector<float>& found = out[linear == &expanded];
        found.assign(static_cast<size_t>(rows * channels), 0.5f);
        for (int64_t i = 0; i < rows; ++i) {
          for (size_t j = 0; j < row.size(); ++j) {
            row[j] = std::sin(static_cast<float>(static_cast<int64_t>(j) * 3 + i));
          }
          input.Set(*linear, i, row.data());
        }
        Apply(*linear, input, rows, pool, found.data(), /*accumulate=*/rows == 7);
      }
      EXPECT_EQ(out[0], out[1]) << bits << " bits, " << rows << " rows";
    }
  }
}

// Where each group has a scale, an outlier coarsens the steps of its own group alone.
TEST(Apply, OutliersCoarsenTheirGroup) {
  QuantizedMatrix matrix = MakeQuantizedMatrix(/*bits=*/4, kChannels, kInputs, kInputs / 2);
  std::vector<int8_t> q(kInputs);
  std::fill(q.begin() + kInputs / 2, q.end(), int8_t{1});  // adds up the second group
  for (int64_t channel = 0; channel < kChannels; ++channel) {
    PackRow(matrix, channel, q, std::vector<float>{1, 1});
  }
  const Linear linear{.weights = std::move(matrix), .bias = {}, .act = {}};
  std::vector<float> row(kInputs, 0.1f);
  row[0] = 50;  // whose steps of 0.39 make nothing of the others
  LinearInput by_group(1, kInputs), by_token(1, kInputs);
  by_token.token_scales = true;
  EXPECT_NEAR(Output(linear, by_group, row)[0], kInputs / 2 * 0.1f, kInputs / 2 * 0.1f / 250);
  EXPECT_EQ(Output(linear, by_token, row)[0], 0);
}

TEST(Saturation, CountsWhatLiesBeyondHalfAStep) {
  // Of the grid -128..127: 127.5 and -128.5 steps are rounded as far as any value may be.
  const Linear linear = MakeLinear(kScale);
  LinearInput input(1, kInputs);
  SiteSaturation counts;
  input.saturation = &counts;
  Output(linear, input, Row({1.27f, -1.28f, 1.2749f, -1.2849f}));
  EXPECT_EQ(counts.saturated_values, 0);
  EXPECT_EQ(counts.saturated_rows, 0);
  Output(linear, input, Row({1.2751f, -1.2851f, 50, -50, INFINITY}));
  Output(linear, input, Row({2}));
  EXPECT_EQ(counts.saturated_values, 6);
  EXPECT_EQ(counts.saturated_rows, 2);
  EXPECT_EQ(counts.rows, 3);
  EXPECT_EQ(counts.values, 3 * kInputs);
}

TEST(Saturation, CountingChangesNothing) {
  const Linear linear = MakeLinear(kScale);
  for (const auto& row : {Row({}), Row({3, -2})}) {
    LinearInput plain(1, kInputs), counted(1, kInputs);
    SiteSaturation counts;
    counted.saturation = &counts;
    EXPECT_EQ(Output(linear, plain, row), Output(linear, counted, row));
  }
}

TEST(Saturation, DynamicScalesDoNotSaturate) {
  LinearInput input(1, kInputs);
  SiteSaturation counts;
  input.saturation = &counts;
  Output(MakeLinear(/*static_scale=*/0), input, Row({50}));
  EXPECT_EQ(counts.rows, 0);
}

TEST(Saturation, GuardedRowsThatSaturateRunAsDynamicOnes) {
  const Linear fixed = MakeLinear(kScale), dynamic = MakeLinear(/*static_scale=*/0);
  LinearInput plain(1, kInputs), guarded(1, kInputs);
  guarded.guard = true;
  const auto inside = Row({1.27f}), beyond = Row({1.27f, 3});
  EXPECT_EQ(Output(fixed, guarded, inside), Output(fixed, plain, inside));
  EXPECT_EQ(Output(fixed, guarded, beyond), Output(dynamic, plain, beyond));
  EXPECT_NE(Output(fixed, guarded, beyond), Output(fixed, plain, beyond));
  EXPECT_NE(Output(fixed, guarded, inside), Output(dynamic, plain, inside));
}

}  // namespace
}  // namespace fptq
