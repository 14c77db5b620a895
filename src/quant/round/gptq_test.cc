#include "quant/round/gptq.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <optional>
#include <random>

#include "base/test_util.h"
#include "model/weights/float_layer.h"

namespace fptq {
namespace {

constexpr int64_t kK = 160;  // blocks of GPTQ: 64, 64 and 32
constexpr int64_t kGroup = 32;
constexpr GroupFormat kSymmetric = {.size = kGroup, .dtype = DataType::kF16};
constexpr GroupFormat kAsymmetric = {.size = kGroup, .dtype = DataType::kF16, .symmetric = false};

SourceLinear RandomLinear(int64_t channels, int64_t k) {
  SourceLinear linear{.name = "m", .channels = channels, .k = k, .weight = {}, .bias = {}};
  linear.weight.Resize(channels * k);
  std::mt19937 random(1);
  std::normal_distribution<float> normal(0, 0.05f);
  for (float& w : linear.weight.span()) w = normal(random);
  return linear;
}

// X^T X of rows whose channels are mixtures of `rank` independent ones.
std::vector<float> Gram(int64_t k, int64_t rank) {
  std::mt19937 random(2);
  std::normal_distribution<float> normal;
  std::vector<float> mix(static_cast<size_t>(k * rank));
  for (float& value : mix) value = normal(random) * std::exp(normal(random));
  std::vector<float> gram(static_cast<size_t>(k * k));
  for (int64_t i = 0; i < k; ++i) {
    for (int64_t j = 0; j < k; ++j) {
      double sum = 0;
      for (int64_t c = 0; c < rank; ++c) {
        sum += double{mix[static_cast<size_t>(i * rank + c)]} *
               double{mix[static_cast<size_t>(j * rank + c)]};
      }
      gram[static_cast<size_t>(i * k + j)] = static_cast<float>(sum);
    }
  }
  return gram;
}

std::vector<float> Identity(int64_t k, float value) {
  std::vector<float> gram(static_cast<size_t>(k * k));
  for (int64_t j = 0; j < k; ++j) gram[static_cast<size_t>(j * k + j)] = value;
  return gram;
}

// tr(E H E^T).
double TrueError(const SourceLinear& linear, std::span<const float> gram,
                 const GroupQuantized& quantized) {
  const int64_t k = linear.k;
  double total = 0;
  std::vector<double> e(static_cast<size_t>(k));
  for (int64_t n = 0; n < linear.channels; ++n) {
    for (int64_t j = 0; j < k; ++j) {
      const auto at = static_cast<size_t>(n * k + j);
      const size_t group = at / static_cast<size_t>(quantized.group_size);
      const int zero_point = quantized.ZeroPoint(static_cast<int64_t>(group));
      e[static_cast<size_t>(j)] = linear.weight[n * k + j] -
                                  double{quantized.scales[group]} * (quantized.q[at] - zero_point);
    }
    for (int64_t i = 0; i < k; ++i) {
      for (int64_t j = 0; j < k; ++j) {
        total += e[static_cast<size_t>(i)] * e[static_cast<size_t>(j)] *
                 double{gram[static_cast<size_t>(i * k + j)]};
      }
    }
  }
  return total;
}

std::optional<OutputError> MakeError(std::span<const float> gram, int64_t k, ThreadPool& pool) {
  AlignedBuffer<float> copy(std::ssize(gram));
  std::ranges::copy(gram, copy.data());
  return OutputError::Make(std::move(copy), k, kGroup, pool);
}

GroupQuantized Round(const SourceLinear& linear, std::span<const float> gram, int sweeps,
                     int threads = 2, const GroupFormat& format = kSymmetric) {
  ThreadPool pool(threads);
  const OutputError error = MakeError(gram, linear.k, pool).value();
  return RoundGptq(linear, error, sweeps, format, pool);
}

GroupQuantized RoundPlainly(const SourceLinear& linear, std::span<const float> gram,
                            const GroupFormat& format = kSymmetric) {
  ThreadPool pool(1);
  const OutputError error = MakeError(gram, linear.k, pool).value();
  return QuantizeGroups(linear, error.diagonal(), format, pool);
}

// Uncorrelated channels have nothing to make up for.
TEST(RoundGptq, IsPlainRoundingForUncorrelatedChannels) {
  const SourceLinear linear = RandomLinear(70, kK);
  for (const float variance : {0.0f, 1.0f, 1e-6f, 1e6f}) {
    const std::vector<float> gram = Identity(kK, variance);
    for (const GroupFormat& format : {kSymmetric, kAsymmetric}) {
      const GroupQuantized plain = RoundPlainly(linear, gram, format);
      const GroupQuantized gptq = Round(linear, gram, /*sweeps=*/0, /*threads=*/2, format);
      EXPECT_EQ(gptq.q, plain.q) << variance;
      EXPECT_EQ(gptq.scales, plain.scales) << variance;
      EXPECT_EQ(gptq.zero_points, plain.zero_points) << variance;
    }
  }
}

TEST(RoundGptq, LowersTheErrorOfTheOutput) {
  const SourceLinear linear = RandomLinear(70, kK);
  for (const int64_t rank : {1, 8, 100, 1000}) {
    const std::vector<float> gram = Gram(kK, rank);
    std::vector<float> damped = gram;  // as OutputError does
    double mean = 0;
    for (int64_t j = 0; j < kK; ++j) mean += gram[static_cast<size_t>(j * kK + j)] / kK;
    for (int64_t j = 0; j < kK; ++j) {
      damped[static_cast<size_t>(j * kK + j)] +=
          static_cast<float>(OutputError::kDampings[0] * mean);
    }
    for (const GroupFormat& format : {kSymmetric, kAsymmetric}) {
      double last = TrueError(linear, damped, RoundPlainly(linear, gram, format));
      // The fewer independent channels there are, the more of an error others can make up for.
      if (rank < kK) {
        EXPECT_LT(TrueError(linear, damped, Round(linear, gram, 0, 2, format)), 0.7 * last);
      }
      for (const int sweeps : {0, 1, 2, 4}) {
        const GroupQuantized gptq = Round(linear, gram, sweeps, /*threads=*/2, format);
        const double error = TrueError(linear, damped, gptq);
        EXPECT_LE(error, last * (1 + 1e-6)) << rank << " " << sweeps;  // sums in float32
        last = error;
        for (const int8_t q : gptq.q) EXPECT_TRUE(q >= -8 && q <= 7);
        // The error that is reported: the gradients are sums in float32 that go through all sweeps.
        const double norm = TrueError(linear, damped,
                                      {.group_size = kGroup,
                                       .q = std::vector<int8_t>(gptq.q.size()),
                                       .scales = gptq.scales,
                                       .zero_points = {}});
        EXPECT_NEAR(gptq.relative_error, std::sqrt(error / norm), 1e-3 * gptq.relative_error);
      }
    }
  }
}

TEST(RoundGptq, DoesNotDependOnThreads) {
  const SourceLinear linear = RandomLinear(200, kK);
  const std::vector<float> gram = Gram(kK, 300);
  const GroupQuantized one = Round(linear, gram, 2, 1), three = Round(linear, gram, 2, 3);
  EXPECT_EQ(one.q, three.q);
  EXPECT_EQ(one.scales, three.scales);
  EXPECT_EQ(one.relative_error, three.relative_error);
}

// A channel that calibration never saw: its weights are rounded like others.
TEST(RoundGptq, KeepsTheWeightsOfDeadChannels) {
  const SourceLinear linear = RandomLinear(16, kK);
  std::vector<float> gram = Gram(kK, 300);
  for (const int64_t dead : {3, 40, 41, 159}) {
    for (int64_t j = 0; j < kK; ++j) {
      gram[static_cast<size_t>(dead * kK + j)] = gram[static_cast<size_t>(j * kK + dead)] = 0;
    }
  }
  const GroupQuantized gptq = Round(linear, gram, 2);
  for (int64_t n = 0; n < 16; ++n) {
    for (const int64_t dead : {3, 40, 41, 159}) {
      const auto at = static_cast<size_t>(n * kK + dead);
      const float scale = gptq.scales[at / kGroup];
      const float w = std::clamp(linear.weight[n * kK + dead], std::min(-8 * scale, 7 * scale),
                                 std::max(-8 * scale, 7 * scale));
      EXPECT_NEAR(gptq.q[at] * scale, w, 0.5001f * std::abs(scale));
    }
  }
}

TEST(OutputError, IsNoneWhereActivationsAreNotFinite) {
  ThreadPool pool(1);
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    std::vector<float> gram = Gram(kK, 300);
    gram[7 * kK + 7] = bad;
    EXPECT_FALSE(MakeError(gram, kK, pool));
    gram = Gram(kK, 300);
    gram[7 * kK + 9] = gram[9 * kK + 7] = bad;
    EXPECT_FALSE(MakeError(gram, kK, pool));
  }
}

// As large as X^T X of finite activations may be, and as small: nothing on the way overflows, and
// nothing vanishes.
TEST(RoundGptq, DoesNotDependOnTheSizeOfActivations) {
  const SourceLinear linear = RandomLinear(16, kK);
  std::vector<float> gram = Gram(kK, 300);
  const GroupQuantized expected = Round(linear, gram, 2);
  for (const int exponent : {-120, -60, 60, 110}) {
    std::vector<float> scaled = gram;
    for (float& x : scaled) x = std::ldexp(x, exponent);
    const GroupQuantized found = Round(linear, scaled, 2);
    EXPECT_EQ(found.q, expected.q) << exponent;
    EXPECT_EQ(found.scales, expected.scales) << exponent;
  }
}

// One word again and again: all rows are the same, and one of its channels may be far larger than
// others.
TEST(RoundGptq, TakesProductsOfRankOne) {
  ThreadPool pool(2);
  const SourceLinear linear = RandomLinear(16, kK);
  for (const float outlier : {1.0f, 1e3f, 1e6f, 1e12f}) {
    std::vector<float> row(static_cast<size_t>(kK));
    std::mt19937 random(3);
    std::normal_distribution<float> normal;
    for (float& x : row) x = normal(random);
    row[77] *= outlier;
    std::vector<float> gram;
    for (const float a : row) {
      for (const float b : row) gram.push_back(a * b);
    }
    const auto error = MakeError(gram, kK, pool);
    ASSERT_TRUE(error) << outlier;
    const GroupQuantized gptq = RoundGptq(linear, *error, 2, kSymmetric, pool);
    // What 4 bits cost where nothing makes up for anything is 0.1.
    EXPECT_LT(gptq.relative_error, 0.1) << outlier;
  }
}

TEST(OutputError, RaisesTheDampingWhereItMust) {
  ThreadPool pool(2);
  // Not a matrix of products at all: its least eigenvalue is -0.4, for which the least is not
  // enough.
  std::vector<float> indefinite = Identity(kK, 1);
  indefinite[3] = indefinite[3 * kK] = 1.4f;
  const auto raised = MakeError(indefinite, kK, pool);
  ASSERT_TRUE(raised);
  EXPECT_EQ(raised->damping(), OutputError::kDampings[1]);
  indefinite[3] = indefinite[3 * kK] = 100;
  EXPECT_FALSE(MakeError(indefinite, kK, pool));
}

}  // namespace
}  // namespace fptq
