// Every table gives the bits of scalar.cc, and scalar.cc agrees with the formulas in double
// precision: GEMMs.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "kernels/testing.h"
#include "kernels/weights.h"

namespace fptq {
namespace {

// In place of the bits of weights: 4, with zero points.
constexpr int kAsymmetric4 = -4;

QuantizedMatrix MakeMatrix(int bits, int64_t channels, int64_t k, int64_t group) {
  return MakeQuantizedMatrix(std::abs(bits), channels, k, group, /*arena=*/nullptr,
                             /*symmetric=*/bits != kAsymmetric4);
}

const int8_t* ZeroPoints(const QuantizedMatrix& matrix) {
  return matrix.zero_points.size() > 0 ? matrix.zero_points.data() : nullptr;
}

// A quantized GEMM and all that it points to.
struct QuantizedCase {
  QuantizedMatrix matrix;
  std::vector<int8_t> activations;
  std::vector<float> activation_scales, bias, initial;
  std::vector<int32_t> group_sums;
  int64_t rows, stride;

  // `bits` may be kAsymmetric4.
  QuantizedCase(std::mt19937& rng, int bits_or_more, int64_t rows_in, int64_t channels, int64_t k,
                int64_t group)
      : matrix(MakeMatrix(bits_or_more, channels, k, group)), rows(rows_in), stride(channels + 3) {
    const int bits = matrix.bits;
    matrix.full_range = bits == 8 && RandomInt(rng, 0, 1) == 1;
    std::vector<int8_t> q(Size(k));
    for (int64_t n = 0; n < channels; ++n) {
      const int low = bits == 4 ? -8 : matrix.full_range ? -128 : -127, high = bits == 4 ? 7 : 127;
      const int kind = RandomInt(rng, 0, 4);
      for (int8_t& x : q) {
        x = static_cast<int8_t>(kind == 0 ? low : kind == 1 ? high : RandomInt(rng, low, high));
      }
      std::vector<float> scales = Normal(rng, k / group, 0.01f);
      if (kind == 2) scales[0] = 1e-41f;  // a denormal
      std::vector<int16_t> zeros(scales.size());
      for (int16_t& zero : zeros) zero = static_cast<int16_t>(RandomInt(rng, -8, 8));
      PackRow(matrix, n, q, scales, zeros);
    }
    activations.resize(Size(rows * k));
    for (int64_t r = 0; r < rows; ++r) {
      const int kind = RandomInt(rng, 0, 5);
      for (int64_t i = 0; i < k; ++i) {
        const int value = kind == 0   ? 127
                          : kind == 1 ? -128
                          : kind == 2 ? 0
                                      : RandomInt(rng, -128, 127);
        activations[Size(r * k + i)] = static_cast<int8_t>(value);
      }
    }
    group_sums.resize(Size(rows * (k / group)));
    for (size_t i = 0; i < activations.size(); ++i) {
      group_sums[i / Size(group)] += activations[i];
    }
    activation_scales = Normal(rng, std::ssize(group_sums), 0.05f);
    bias = Normal(rng, channels);
    initial = Normal(rng, rows * stride);
  }

  QuantizedGemmArgs Args(std::vector<float>& out, bool with_bias, bool accumulate) const {
    return {.activations = activations.data(),
            .activation_scales = activation_scales.data(),
            .group_sums = group_sums.data(),
            .rows = rows,
            .k = matrix.k,
            .group_size = matrix.group_size,
            .weights = matrix.tiles.data(),
            .weight_scales = matrix.scales.data(),
            .zero_points = ZeroPoints(matrix),
            .full_range = matrix.full_range,
            .bias = with_bias ? bias.data() : nullptr,
            .channels = matrix.channels,
            .tile_begin = 0,
            .tile_end = matrix.channel_tiles(),
            .out = out.data(),
            .out_stride = stride,
            .accumulate = accumulate};
  }
};

void RunQuantized(const KernelTable& table, int bits, const QuantizedGemmArgs& args) {
  (bits == 8 ? table.gemm_w8 : table.gemm_w4)(args);
}

class QuantizedGemm : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Bits, QuantizedGemm, testing::Values(4, 8, kAsymmetric4));

TEST_P(QuantizedGemm, AllTablesGiveTheBitsOfScalar) {
  std::mt19937 rng(1);
  const int bits = GetParam();
  for (int64_t group : {32, 64, 128}) {
    for (int64_t groups = 1; groups <= 5; ++groups) {
      for (int64_t rows = 1; rows <= 17; ++rows) {
        const int64_t channels = RandomInt(rng, 1, 70);
        const QuantizedCase c(rng, bits, rows, channels, groups * group, group);
        const bool with_bias = rows % 2 == 0, accumulate = rows % 3 == 0;
        std::vector<float> expected = c.initial;
        RunQuantized(Scalar(), bits, c.Args(expected, with_bias, accumulate));
        for (const KernelTable& table : SupportedKernels()) {
          std::vector<float> found = c.initial;
          QuantizedGemmArgs args = c.Args(found, with_bias, accumulate);
          const int64_t split = RandomInt(rng, 0, static_cast<int>(args.tile_end));
          args.tile_end = split;
          RunQuantized(table, bits, args);
          args.tile_begin = split;
          args.tile_end = c.matrix.channel_tiles();
          RunQuantized(table, bits, args);
          ExpectSameBits(expected, found,
                         std::string(table.name) + " rows " + std::to_string(rows) + " channels " +
                             std::to_string(channels) + " groups " + std::to_string(groups) +
                             " x " + std::to_string(group));
        }
      }
    }
  }
}

// The largest sums that there can be, of either sign, neither overflow nor lose a bit on their way
// to float. Powers of two as scales keep what follows exact.
TEST_P(QuantizedGemm, TheLongestGroupIsExact) {
  const int bits = GetParam();
  int low = bits == 8 ? -128 : -8, high = bits == 8 ? 127 : 7;
  constexpr int64_t kChannels = 3;
  QuantizedMatrix matrix = MakeMatrix(bits, kChannels, kMaxGroupSize, kMaxGroupSize);
  const float scale = 0.5f;
  for (int64_t n = 0; n < kChannels; ++n) {
    const int16_t zero = n == 0 ? -8 : 8;
    const std::vector<int8_t> q(kMaxGroupSize, static_cast<int8_t>(n == 0 ? high : low));
    PackRow(matrix, n, q, {&scale, 1}, {&zero, 1});
  }
  if (bits == kAsymmetric4) {
    high += 8;
    low -= 8;
  }
  std::vector<int8_t> activations(2 * kMaxGroupSize, -128);
  std::fill_n(activations.begin(), kMaxGroupSize, int8_t{127});
  const std::vector<float> activation_scales = {1, 1};
  const std::vector<int32_t> group_sums = {127 * kMaxGroupSize, -128 * kMaxGroupSize};
  for (const KernelTable& table : SupportedKernels()) {
    std::vector<float> out(2 * kChannels);
    RunQuantized(table, bits,
                 {.activations = activations.data(),
                  .activation_scales = activation_scales.data(),
                  .group_sums = group_sums.data(),
                  .rows = 2,
                  .k = kMaxGroupSize,
                  .group_size = kMaxGroupSize,
                  .weights = matrix.tiles.data(),
                  .weight_scales = matrix.scales.data(),
                  .zero_points = ZeroPoints(matrix),
                  .full_range = matrix.full_range,
                  .bias = nullptr,
                  .channels = kChannels,
                  .tile_begin = 0,
                  .tile_end = matrix.channel_tiles(),
                  .out = out.data(),
                  .out_stride = kChannels,
                  .accumulate = false});
    for (const int64_t row : {0, 1}) {
      const int64_t a = row == 0 ? 127 : -128;
      EXPECT_EQ(out[Size(row * kChannels)], 0.5f * static_cast<float>(a * high * kMaxGroupSize))
          << table.name;
      EXPECT_EQ(out[Size(row * kChannels + 1)], 0.5f * static_cast<float>(a * low * kMaxGroupSize))
          << table.name;
    }
  }
}

// More rows, and more inputs, than a kernel takes at once.
TEST_P(QuantizedGemm, LargeMatricesCrossTheBlocks) {
  std::mt19937 rng(2);
  const int bits = GetParam();
  struct Shape {
    int64_t rows, channels, k, group;
  };
  for (const Shape& shape : {Shape{150, 40, 8192, 128}, Shape{521, 18, 8448, 64},
                             Shape{20, 20, 12288, 4096}, Shape{9, 20, 32768, 16384}}) {
    const QuantizedCase c(rng, bits, shape.rows, shape.channels, shape.k, shape.group);
    std::vector<float> expected = c.initial;
    RunQuantized(Scalar(), bits, c.Args(expected, true, true));
    for (const KernelTable& table : SupportedKernels()) {
      std::vector<float> found = c.initial;
      RunQuantized(table, bits, c.Args(found, true, true));
      ExpectSameBits(expected, found, table.name + (" of " + std::to_string(shape.rows)));
    }
  }
}

TEST_P(QuantizedGemm, RowAloneEqualsRowInBatch) {
  std::mt19937 rng(3);
  const int bits = GetParam();
  const QuantizedCase c(rng, bits, 29, 33, 256, 64);
  for (const KernelTable& table : SupportedKernels()) {
    std::vector<float> batch = c.initial, alone = c.initial;
    RunQuantized(table, bits, c.Args(batch, true, true));
    for (int64_t r = 0; r < c.rows; ++r) {
      QuantizedGemmArgs args = c.Args(alone, true, true);
      args.rows = 1;
      args.activations += r * args.k;
      args.activation_scales += r * (args.k / args.group_size);
      args.group_sums += r * (args.k / args.group_size);
      args.out += r * args.out_stride;
      RunQuantized(table, bits, args);
    }
    ExpectSameBits(batch, alone, table.name);
  }
}

// Integers less their zero points, which 8 bits hold, give the same bits.
TEST(QuantizedGemmTest, ZeroPointsAreSubtracted) {
  std::mt19937 rng(6);
  const int64_t k = 192, group = 64, channels = 37;
  const QuantizedCase c(rng, kAsymmetric4, 7, channels, k, group);
  QuantizedMatrix wide = MakeQuantizedMatrix(8, channels, k, group);
  std::vector<int8_t> q(Size(k));
  std::vector<float> scales(Size(k / group));
  for (int64_t n = 0; n < channels; ++n) {
    UnpackRow(c.matrix, n, q, scales);
    for (int64_t i = 0; i < k; ++i) {
      const int64_t at = (n / 16 * (k / group) + i / group) * 16 + n % 16;
      q[Size(i)] = static_cast<int8_t>(q[Size(i)] - c.matrix.zero_points[at]);
    }
    PackRow(wide, n, q, scales);
  }
  for (const KernelTable& table : SupportedKernels()) {
    std::vector<float> expected = c.initial, found = c.initial;
    RunQuantized(table, kAsymmetric4, c.Args(found, true, true));
    QuantizedGemmArgs args = c.Args(expected, true, true);
    args.weights = wide.tiles.data();
    args.weight_scales = wide.scales.data();
    args.zero_points = nullptr;
    RunQuantized(table, 8, args);
    ExpectSameBits(expected, found, table.name);
  }
}

TEST_P(QuantizedGemm, ScalarIsTheFormula) {
  std::mt19937 rng(4);
  const int bits = GetParam();
  const int64_t k = 384, group = 128, channels = 21;
  const QuantizedCase c(rng, bits, 5, channels, k, group);
  std::vector<float> found = c.initial;
  RunQuantized(Scalar(), bits, c.Args(found, true, true));
  std::vector<int8_t> q(Size(k));
  std::vector<float> scales(Size(k / group));
  const auto zero = [&](int64_t n, int64_t i) -> int {
    if (c.matrix.zero_points.size() == 0) return 0;
    return c.matrix.zero_points[(n / 16 * (k / group) + i / group) * 16 + n % 16];
  };
  for (int64_t n = 0; n < channels; ++n) {
    UnpackRow(c.matrix, n, q, scales);
    for (int64_t r = 0; r < c.rows; ++r) {
      double sum = 0, magnitude = 0;
      for (int64_t i = 0; i < k; ++i) {
        const double term = static_cast<double>(c.activations[Size(r * k + i)]) *
                            (q[Size(i)] - zero(n, i)) * scales[Size(i / group)] *
                            c.activation_scales[Size((r * k + i) / group)];
        sum += term;
        magnitude += std::fabs(term);
      }
      const size_t at = Size(r * c.stride + n);
      sum += c.bias[Size(n)] + c.initial[at];
      magnitude += std::fabs(c.bias[Size(n)]) + std::fabs(c.initial[at]);
      // Six roundings (a group's scale, three groups, bias, residual), each of at most half an ulp
      // of the magnitude.
      EXPECT_NEAR(found[at], sum, 6 * 0x1p-24 * magnitude) << "row " << r << " channel " << n;
    }
  }
}

// In all tables the floats that the integers stand for, wherever `order` puts them.
TEST_P(QuantizedGemm, TilesExpandToWhatTheyStandFor) {
  std::mt19937 rng(7);
  const int bits = GetParam();
  const int64_t k = 192, group = 64, channels = 37;
  const QuantizedCase c(rng, bits, 1, channels, k, group);
  std::vector<int32_t> order(Size(k));
  std::iota(order.begin(), order.end(), 0);
  std::shuffle(order.begin(), order.end(), rng);
  std::vector<int8_t> q(Size(k));
  std::vector<float> scales(Size(k / group));
  for (const bool ordered : {false, true}) {
    for (const KernelTable& table : SupportedKernels()) {
      const auto expand = c.matrix.bits == 4 ? table.expand_w4 : table.expand_w8;
      for (int64_t tile = 0; tile < c.matrix.channel_tiles(); ++tile) {
        std::vector<float> found(Size(k * kTileChannels), NAN), expected = found;
        const int64_t first = tile * (k / group) * kTileChannels;
        const int8_t* zeros = ZeroPoints(c.matrix);
        expand({.weights = c.matrix.tiles.data() + tile * kTileChannels * k * c.matrix.bits / 8,
                .scales = c.matrix.scales.data() + first,
                .zero_points = zeros == nullptr ? nullptr : zeros + first,
                .k = k,
                .group_size = group,
                .order = ordered ? order.data() : nullptr,
                .out = found.data()});
        for (int64_t channel = 0; channel < kTileChannels; ++channel) {
          const int64_t n = tile * kTileChannels + channel;
          std::ranges::fill(q, int8_t{0});
          std::ranges::fill(scales, 0.0f);
          if (n < channels) UnpackRow(c.matrix, n, q, scales);
          for (int64_t i = 0; i < k; ++i) {
            const int64_t at = first + i / group * kTileChannels + channel;
            const int zero = zeros == nullptr ? 0 : zeros[at];
            const int64_t input = ordered ? order[Size(i)] : i;
            expected[Size(input * kTileChannels + channel)] =
                scales[Size(i / group)] * static_cast<float>(q[Size(i)] - zero);
          }
        }
        ExpectSameBits(expected, found, table.name);
      }
    }
  }
}

struct FloatCase {
  FloatMatrix matrix;
  std::vector<float> activations, bias, initial;
  int64_t rows, stride;

  FloatCase(std::mt19937& rng, int64_t rows_in, int64_t channels, int64_t k)
      : matrix(MakeFloatMatrix(channels, k)), rows(rows_in), stride(channels + 1) {
    for (int64_t n = 0; n < channels; ++n) PackRow(matrix, n, Normal(rng, k));
    activations = Normal(rng, rows * k);
    activations[0] = 1e-42f;
    bias = Normal(rng, channels);
    initial = Normal(rng, rows * stride);
  }

  FloatGemmArgs Args(std::vector<float>& out, bool with_bias, bool accumulate) const {
    return {.activations = activations.data(),
            .rows = rows,
            .k = matrix.k,
            .weights = matrix.tiles.data(),
            .bias = with_bias ? bias.data() : nullptr,
            .channels = matrix.channels,
            .tile_begin = 0,
            .tile_end = matrix.channel_tiles(),
            .out = out.data(),
            .out_stride = stride,
            .accumulate = accumulate};
  }
};

TEST(FloatGemm, AllTablesGiveTheBitsOfScalar) {
  std::mt19937 rng(5);
  for (int64_t k : {1, 7, 64, 131, 4000}) {
    for (int64_t rows : {1, 2, 3, 4, 5, 8, 11, 12, 13, 17, 60, 103}) {
      const int64_t channels = RandomInt(rng, 1, 100);
      const FloatCase c(rng, rows, channels, k);
      const bool with_bias = rows % 2 == 0, accumulate = rows % 3 == 0;
      std::vector<float> expected = c.initial;
      Scalar().gemm_f32(c.Args(expected, with_bias, accumulate));
      for (const KernelTable& table : SupportedKernels()) {
        std::vector<float> found = c.initial;
        FloatGemmArgs args = c.Args(found, with_bias, accumulate);
        args.tile_end = args.tile_end / 2;
        table.gemm_f32(args);
        args.tile_begin = args.tile_end;
        args.tile_end = c.matrix.channel_tiles();
        table.gemm_f32(args);
        ExpectSameBits(expected, found,
                       std::string(table.name) + " rows " + std::to_string(rows) + " channels " +
                           std::to_string(channels) + " k " + std::to_string(k));
      }
    }
  }
}

TEST(FloatGemm, ScalarIsTheFormula) {
  std::mt19937 rng(6);
  const int64_t k = 100, channels = 19;
  const FloatCase c(rng, 3, channels, k);
  std::vector<float> found = c.initial, row(Size(k));
  Scalar().gemm_f32(c.Args(found, true, true));
  for (int64_t n = 0; n < channels; ++n) {
    UnpackRow(c.matrix, n, row);
    for (int64_t r = 0; r < c.rows; ++r) {
      const size_t at = Size(r * c.stride + n);
      double sum = c.bias[Size(n)] + static_cast<double>(c.initial[at]);
      double magnitude = std::fabs(c.bias[Size(n)]) + std::fabs(c.initial[at]);
      for (int64_t i = 0; i < k; ++i) {
        const double term = static_cast<double>(c.activations[Size(r * k + i)]) * row[Size(i)];
        sum += term;
        magnitude += std::fabs(term);
      }
      // k + 2 roundings of at most half an ulp of the magnitude.
      EXPECT_NEAR(found[at], sum, (k + 2) * 0x1p-24 * magnitude);
    }
  }
}

}  // namespace
}  // namespace fptq
