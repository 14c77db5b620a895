#include "kernels/weights.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

#include "kernels/testing.h"

namespace fptq {
namespace {

TEST(Weights, NibblesLieWhereTheLayoutSays) {
  QuantizedMatrix matrix = MakeQuantizedMatrix(4, 17, 64, 32);
  std::vector<int8_t> q(64, 0);
  q[13] = -8;  // vector 1, byte 1, high nibble
  q[9] = 7;    // vector 1, byte 1, low nibble
  const std::vector<float> scales = {1, 2};
  PackRow(matrix, 16, q, scales);  // tile 1, channel 0
  EXPECT_EQ(matrix.tiles[64 * (64 / 8 + 1) + 1], 0x0f);
  EXPECT_EQ(matrix.tiles[64 * (64 / 8 + 1) + 2], 0x88);
  EXPECT_EQ(matrix.scales[16 * (2 + 1)], 2);
  EXPECT_EQ(matrix.channel_tiles(), 2);
  EXPECT_EQ(matrix.Bytes(), 32 * 64 / 2 + 32 * 2 * 4);
}

TEST(Weights, BytesLieWhereTheLayoutSays) {
  QuantizedMatrix matrix = MakeQuantizedMatrix(8, 3, 32, 32);
  std::vector<int8_t> q(32, 0);
  q[6] = -127;  // vector 1, byte 2
  PackRow(matrix, 2, q, std::vector<float>{1});
  EXPECT_EQ(matrix.tiles[64 + 2 * 4 + 2], 1);
  EXPECT_EQ(matrix.tiles[64 + 2 * 4 + 3], 128);
}

TEST(Weights, RowsSurviveARoundTrip) {
  std::mt19937 rng(1);
  for (int bits : {4, 8}) {
    QuantizedMatrix matrix = MakeQuantizedMatrix(bits, 37, 96, 32);
    std::vector<std::vector<int8_t>> rows;
    std::vector<std::vector<float>> scales;
    for (int64_t n = 0; n < matrix.channels; ++n) {
      std::vector<int8_t>& q = rows.emplace_back(96);
      for (int8_t& x : q) {
        x = static_cast<int8_t>(bits == 4 ? RandomInt(rng, -8, 7) : RandomInt(rng, -127, 127));
      }
      PackRow(matrix, n, q, scales.emplace_back(Normal(rng, 3)));
    }
    std::vector<int8_t> q(96);
    std::vector<float> s(3);
    for (int64_t n = 0; n < matrix.channels; ++n) {
      UnpackRow(matrix, n, q, s);
      EXPECT_EQ(q, rows[Size(n)]);
      EXPECT_EQ(s, scales[Size(n)]);
    }
  }
}

TEST(Weights, FloatRowsSurviveARoundTrip) {
  std::mt19937 rng(1);
  FloatMatrix matrix = MakeFloatMatrix(18, 7);
  std::vector<std::vector<float>> rows;
  for (int64_t n = 0; n < 18; ++n) PackRow(matrix, n, rows.emplace_back(Normal(rng, 7)));
  std::vector<float> row(7);
  for (int64_t n = 0; n < 18; ++n) {
    UnpackRow(matrix, n, row);
    EXPECT_EQ(row, rows[Size(n)]);
  }
}

TEST(Weights, Int8RowsHaveTheirLargestValueAt127) {
  QuantizedMatrix matrix = MakeQuantizedMatrix(8, 2, 32, 32);
  std::vector<float> row(32, 0.0f);
  PackRowInt8(matrix, 0, row);
  row[3] = -2.54f;
  row[5] = 0.031f;
  PackRowInt8(matrix, 1, row);
  std::vector<int8_t> q(32);
  std::vector<float> scale(1);
  UnpackRow(matrix, 0, q, scale);
  EXPECT_EQ(q, std::vector<int8_t>(32, 0));
  EXPECT_EQ(scale[0], 1);
  UnpackRow(matrix, 1, q, scale);
  EXPECT_FLOAT_EQ(scale[0], 0.02f);
  EXPECT_EQ(q[3], -127);
  EXPECT_EQ(q[5], 2);
}

// Rows whose scale vanishes, or nearly so, and the largest.
TEST(Weights, Int8RowsAreFiniteForWhateverIsFinite) {
  QuantizedMatrix matrix = MakeQuantizedMatrix(8, 1, 32, 32);
  for (const float x : {1e-45f, 1e-44f, 3e-43f, 1e-38f, 3.4e38f}) {
    PackRowInt8(matrix, 0, std::vector<float>(32, -x));
    std::vector<int8_t> q(32);
    std::vector<float> scale(1);
    UnpackRow(matrix, 0, q, scale);
    EXPECT_GT(scale[0], 0);
    EXPECT_TRUE(std::isfinite(scale[0] * 127));
    // A denormal scale has few digits.
    EXPECT_TRUE(scale[0] == 1 ? q[0] == 0 : q[0] >= -127 && q[0] <= -90) << x << " " << +q[0];
  }
}

}  // namespace
}  // namespace fptq
