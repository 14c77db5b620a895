// Every table gives the bits of scalar.cc, and scalar.cc agrees with the formulas in double
// precision: rows.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "kernels/testing.h"

namespace fptq {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr double kUlp = 0x1p-23;

const int64_t kSizes[] = {1, 2, 15, 16, 17, 31, 33, 64, 100, 576, 1001};

// Normal values with corners strewn in.
std::vector<float> WithCorners(std::mt19937& rng, int64_t n) {
  std::vector<float> x = Normal(rng, n, 3);
  const float corners[] = {0.0f, -0.0f, 1e-42f, -1e-42f, 1e-20f, 88.5f, -88.5f, 1e4f, -1e4f};
  for (int64_t i = 0; i < n; i += RandomInt(rng, 1, 30)) {
    x[Size(i)] = corners[RandomInt(rng, 0, 8)];
  }
  return x;
}

TEST(RmsNorm, AllTablesGiveTheBitsOfScalar) {
  std::mt19937 rng(1);
  for (int64_t n : kSizes) {
    const std::vector<float> x = WithCorners(rng, n), weight = Normal(rng, n);
    std::vector<float> expected(Size(n) + 1, 7.0f);
    Scalar().rms_norm({x.data(), weight.data(), n, 1e-5f, expected.data()});
    for (const KernelTable& table : SupportedKernels()) {
      std::vector<float> found(Size(n) + 1, 7.0f);  // one more, to see writes beyond the end
      table.rms_norm({x.data(), weight.data(), n, 1e-5f, found.data()});
      ExpectSameBits(expected, found, table.name);
      found.assign(x.begin(), x.end());
      found.push_back(7.0f);
      table.rms_norm({found.data(), weight.data(), n, 1e-5f, found.data()});
      ExpectSameBits(expected, found, std::string(table.name) + " in place");
    }
  }
}

TEST(RmsNorm, ScalarIsTheFormula) {
  std::mt19937 rng(2);
  const int64_t n = 100;
  const std::vector<float> x = Normal(rng, n), weight = Normal(rng, n);
  std::vector<float> out(Size(n));
  Scalar().rms_norm({x.data(), weight.data(), n, 1e-2f, out.data()});
  double sum = 0;
  for (float v : x) sum += static_cast<double>(v) * v;
  for (size_t i = 0; i < Size(n); ++i) {
    const double expected = x[i] / std::sqrt(sum / n + double{1e-2f}) * weight[i];
    // Sums of ceil(100 / 16) + 4 positive terms, half of whose error the root keeps, and five more
    // roundings.
    EXPECT_NEAR(out[i], expected, 6 * kUlp * std::fabs(expected));
  }
}

TEST(Rotate, AllTablesGiveTheBitsOfScalar) {
  std::mt19937 rng(11);
  for (const int64_t n : {1, 2, 6, 8, 12, 15, 16, 32, 48, 64, 80, 96, 128, 576, 1001, 2048}) {
    const int64_t rows = 3;
    std::vector<float> expected = WithCorners(rng, rows * n);
    expected.push_back(7.0f);  // one more, to see writes beyond the end
    const std::vector<float> x = expected;
    Scalar().rotate({expected.data(), rows, n});
    EXPECT_EQ(expected.back(), 7.0f);
    for (const KernelTable& table : SupportedKernels()) {
      std::vector<float> found = x;
      table.rotate({found.data(), rows, n});
      ExpectSameBits(expected, found, table.name);
    }
  }
}

TEST(Rotate, ScalarKeepsProductsAndIsItsOwnInverse) {
  std::mt19937 rng(12);
  for (const int64_t n : {1, 2, 48, 64, 576}) {
    std::vector<float> x = Normal(rng, n), w = Normal(rng, n);
    const auto dot = [](const std::vector<float>& a, const std::vector<float>& b) {
      double sum = 0;
      for (size_t i = 0; i < a.size(); ++i) sum += double{a[i]} * double{b[i]};
      return sum;
    };
    const std::vector<float> before = x;
    const double product = dot(x, w), length = dot(x, x);
    Scalar().rotate({x.data(), 1, n});
    Scalar().rotate({w.data(), 1, n});
    // log2(n) + 2 roundings of each element.
    const double tolerance = 20 * 0x1p-24 * std::sqrt(length * dot(w, w));
    EXPECT_NEAR(dot(x, w), product, tolerance);
    Scalar().rotate({x.data(), 1, n});
    for (size_t i = 0; i < Size(n); ++i) {
      EXPECT_NEAR(x[i], before[i], 20 * 0x1p-24 * std::sqrt(length));
    }
  }
}

TEST(Rotate, SpreadsAnOutlierOverItsBlock) {
  std::vector<float> x(192);
  x[70] = 16;
  Scalar().rotate({x.data(), 1, 192});
  for (size_t i = 0; i < x.size(); ++i) EXPECT_EQ(std::fabs(x[i]), i >= 64 && i < 128 ? 2 : 0);
}

TEST(Largest, IsTheLargestOrNan) {
  std::mt19937 rng(13);
  for (const int64_t n : kSizes) {
    std::vector<float> x = WithCorners(rng, n);
    for (float& v : x) v = -std::fabs(v);  // what is beyond the end is no number of the row
    for (const KernelTable& table : SupportedKernels()) {
      const std::string what = table.name;
      const float expected = Scalar().largest({x.data(), n}), found = table.largest({x.data(), n});
      ExpectSameBits(&expected, &found, 1, what);
      EXPECT_EQ(found, *std::ranges::max_element(x)) << what;
      for (const int64_t at : {int64_t{0}, n / 2, n - 1}) {
        for (const float special : {20.0f, kInfinity, -kInfinity}) {
          std::vector<float> changed = x;
          changed[Size(at)] = special;
          EXPECT_EQ(table.largest({changed.data(), n}), *std::ranges::max_element(changed)) << what;
          changed[Size(n - 1 - at)] = std::nanf("");
          EXPECT_TRUE(std::isnan(table.largest({changed.data(), n}))) << what << " " << n;
        }
      }
    }
    x.assign(Size(n), -kInfinity);
    for (const KernelTable& table : SupportedKernels()) {
      EXPECT_EQ(table.largest({x.data(), n}), -kInfinity) << table.name;
    }
  }
}

TEST(Exponentials, AllTablesGiveTheBitsOfScalar) {
  std::mt19937 rng(14);
  for (const int64_t n : {1, 15, 16, 17, 255, 256, 257, 512, 1001}) {
    std::vector<float> x = WithCorners(rng, n);
    x[Size(n / 2)] = -kInfinity;
    const int64_t blocks = (n + kSumBlock - 1) / kSumBlock;
    for (const float factor : {0.0f, 0.3f, 1.0f, 100.0f, 1e30f}) {
      const float offset = *std::ranges::max_element(x);
      // One more, to see writes beyond the end.
      std::vector<float> expected(Size(n) + 1, 7.0f), expected_sums(Size(blocks) + 1, 7.0f);
      Scalar().exponentials({x.data(), n, offset, factor, expected.data(), expected_sums.data()});
      for (const KernelTable& table : SupportedKernels()) {
        std::vector<float> found(Size(n) + 1, 7.0f), sums(Size(blocks) + 1, 7.0f);
        table.exponentials({x.data(), n, offset, factor, found.data(), sums.data()});
        ExpectSameBits(expected, found, table.name);
        ExpectSameBits(expected_sums, sums, table.name);
      }
    }
  }
}

TEST(Exponentials, ScalarIsTheFormula) {
  std::mt19937 rng(15);
  const int64_t n = 1000;
  const std::vector<float> x = Normal(rng, n, 20);
  const float offset = *std::ranges::max_element(x);
  std::vector<float> out(Size(n)), sums(4);
  Scalar().exponentials({x.data(), n, offset, 0.5f, out.data(), sums.data()});
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) {
    const double argument = (double{x[Size(i)]} - double{offset}) * 0.5;
    const double expected = argument > -87.3 ? std::exp(argument) : 0;
    // The polynomial, and the rounding of the difference.
    EXPECT_NEAR(out[Size(i)], expected, (2 - argument) * kUlp * expected);
    sum += out[Size(i)];
    if ((i + 1) % kSumBlock == 0 || i + 1 == n) {
      EXPECT_NEAR(sums[Size(i / kSumBlock)], sum, 20 * kUlp * sum);  // sums of 16, and the tree
      sum = 0;
    }
  }
}

TEST(LayerNorm, AllTablesGiveTheBitsOfScalar) {
  std::mt19937 rng(7);
  for (int64_t n : kSizes) {
    const std::vector<float> x = WithCorners(rng, n), weight = Normal(rng, n),
                             bias = Normal(rng, n);
    std::vector<float> expected(Size(n) + 1, 7.0f);
    Scalar().layer_norm({x.data(), weight.data(), bias.data(), n, 1e-5f, expected.data()});
    for (const KernelTable& table : SupportedKernels()) {
      std::vector<float> found(Size(n) + 1, 7.0f);
      table.layer_norm({x.data(), weight.data(), bias.data(), n, 1e-5f, found.data()});
      ExpectSameBits(expected, found, table.name);
      found.assign(x.begin(), x.end());
      found.push_back(7.0f);
      table.layer_norm({found.data(), weight.data(), bias.data(), n, 1e-5f, found.data()});
      ExpectSameBits(expected, found, std::string(table.name) + " in place");
    }
  }
}

TEST(LayerNorm, ScalarIsTheFormula) {
  std::mt19937 rng(8);
  for (const int64_t n : {33, 100}) {
    std::vector<float> x = Normal(rng, n);
    for (float& v : x) v += 3;
    const std::vector<float> weight = Normal(rng, n), bias = Normal(rng, n);
    std::vector<float> out(Size(n));
    Scalar().layer_norm({x.data(), weight.data(), bias.data(), n, 1e-2f, out.data()});
    double mean = 0, variance = 0;
    for (float v : x) mean += v / static_cast<double>(n);
    for (float v : x) variance += (v - mean) * (v - mean) / static_cast<double>(n);
    for (size_t i = 0; i < Size(n); ++i) {
      const double expected =
          (x[i] - mean) / std::sqrt(variance + double{1e-2f}) * weight[i] + bias[i];
      // The mean of terms below 6 is off by an ulp of 4 or so, as is x - mean; the weights are
      // below 4. The rest is as in RmsNorm.
      EXPECT_NEAR(out[i], expected, 4 * 4 * kUlp + 8 * kUlp * std::fabs(expected));
    }
  }
}

using ActivationKernel = void (*KernelTable::*)(const ActivationArgs&);
struct ActivationCase {
  const char* name;
  ActivationKernel kernel;
  double (*formula)(double);
};

const ActivationCase kActivations[] = {
    {"silu", &KernelTable::silu, [](double x) { return x / (1 + std::exp(-x)); }},
    {"gelu_tanh", &KernelTable::gelu_tanh,
     [](double x) {
       // 1 + tanh(u) as 2 / (1 + exp(-2u)), which keeps its digits for negative u.
       return x / (1 + std::exp(-2 * std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
     }},
    {"gelu", &KernelTable::gelu, [](double x) { return x * std::erfc(-x / std::sqrt(2)) / 2; }},
    {"relu", &KernelTable::relu, [](double x) { return std::max(x, 0.0); }},
};

TEST(Activation, AllTablesGiveTheBitsOfScalar) {
  std::mt19937 rng(3);
  for (const ActivationCase& activation : kActivations) {
    for (int64_t n : kSizes) {
      const std::vector<float> x = WithCorners(rng, n), up = Normal(rng, n);
      for (const float* factor : {up.data(), static_cast<const float*>(nullptr)}) {
        std::vector<float> expected(Size(n) + 1, 7.0f);
        (Scalar().*activation.kernel)({x.data(), factor, n, expected.data()});
        for (const KernelTable& table : SupportedKernels()) {
          std::vector<float> found(Size(n) + 1, 7.0f);
          (table.*activation.kernel)({x.data(), factor, n, found.data()});
          ExpectSameBits(expected, found, std::string(table.name) + " " + activation.name);
        }
      }
    }
  }
}

// The error of one activation over [-range, range]: as a share of the result, or of x, whichever is
// smaller.
double WorstError(const ActivationCase& activation, double range) {
  std::vector<float> x;
  for (double v = -range; v < range; v += 0.00137) x.push_back(static_cast<float>(v));
  std::vector<float> out(x.size());
  (Scalar().*activation.kernel)({x.data(), nullptr, static_cast<int64_t>(x.size()), out.data()});
  double worst = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const double expected = activation.formula(x[i]);
    if (expected == 0) {
      EXPECT_EQ(out[i], 0);
      continue;
    }
    worst = std::max(worst, std::fabs(out[i] - expected) / std::fabs(expected));
  }
  return worst;
}

TEST(Activation, ScalarIsTheFormula) {
  // exp within 1 ulp, and half an ulp for the sum and the quotient. (This shows the accuracy of exp
  // as well: silu(x) is near x * exp(x) for negative x.)
  EXPECT_LT(WorstError(kActivations[0], 87), 2 * kUlp);
  // Beyond that the relative error of exp(-2u) is the absolute one of 2u, half an ulp of each of
  // the four factors: |2u| < 9 for |x| < 4, and elsewhere the result is x or nearly 0.
  EXPECT_LT(WorstError(kActivations[1], 4), (2 + 9 * 2) * kUlp);
  // The same with |x^2 / 2| < 8 and one factor rounded, a polynomial off by half an ulp, 9 Horner
  // steps of terms that cancel a little, and 4 products.
  EXPECT_LT(WorstError(kActivations[2], 4), 16 * kUlp);
  EXPECT_EQ(WorstError(kActivations[3], 50), 0);
}

TEST(Softcap, AllTablesGiveTheBitsOfScalar) {
  std::mt19937 rng(23);
  for (const int64_t n : kSizes) {
    for (const float cap : {0.5f, 30.0f}) {
      std::vector<float> expected = WithCorners(rng, n);
      expected.push_back(7.0f);  // one more, to see writes beyond the end
      const std::vector<float> x = expected;
      Scalar().softcap({expected.data(), n, cap});
      EXPECT_EQ(expected.back(), 7.0f);
      for (const KernelTable& table : SupportedKernels()) {
        std::vector<float> found = x;
        table.softcap({found.data(), n, cap});
        ExpectSameBits(expected, found, table.name);
      }
    }
  }
}

TEST(Softcap, ScalarIsTheFormula) {
  std::vector<float> x = {kInfinity, -kInfinity, 0, std::nanf("")};
  for (double v = -100; v < 100; v += 0.0137) x.push_back(static_cast<float>(v));
  std::vector<float> out = x;
  Scalar().softcap({out.data(), std::ssize(out), 30});
  EXPECT_EQ(out[0], 30);
  EXPECT_EQ(out[1], -30);
  EXPECT_EQ(out[2], 0);
  EXPECT_TRUE(std::isnan(out[3]));
  for (size_t i = 4; i < x.size(); ++i) {
    // 1 - e is off by what e is, 2 ulps of 1; two more roundings of a result of at most the cap.
    EXPECT_NEAR(out[i], 30 * std::tanh(x[i] / 30.0), 30 * 3 * kUlp) << x[i];
  }
}

TEST(Activation, LimitsAreExact) {
  const std::vector<float> x = {kInfinity, 1e30f, 100, 30, 0, -89, -200, -1e30f};
  for (const ActivationCase& activation : kActivations) {
    for (const KernelTable& table : SupportedKernels()) {
      std::vector<float> out(x.size());
      (table.*activation.kernel)({x.data(), nullptr, static_cast<int64_t>(x.size()), out.data()});
      for (size_t i = 0; i < 5; ++i) EXPECT_EQ(out[i], x[i]) << table.name << activation.name;
      for (size_t i = 5; i < x.size(); ++i) {
        // exp stays at 1.2e-38 in gelu; the others are exactly 0.
        EXPECT_LE(std::fabs(out[i]), activation.kernel == &KernelTable::gelu ? 1.2e-8f : 0.0f)
            << table.name << activation.name << x[i];
      }
    }
  }
}

struct Quantized {
  std::vector<int8_t> q;
  std::vector<int32_t> sums;
  std::vector<float> scales;

  Quantized(const KernelTable& table, const std::vector<float>& x, int64_t group,
            float static_scale, bool one_scale = false)
      : q(x.size()), sums(x.size() / Size(group)), scales(sums.size()) {
    table.quantize_row({.x = x.data(),
                        .n = std::ssize(x),
                        .group_size = group,
                        .static_scale = static_scale,
                        .one_scale = one_scale,
                        .q = q.data(),
                        .scales = scales.data(),
                        .group_sums = sums.data()});
  }
};

TEST(QuantizeRow, AllTablesGiveTheBitsOfScalar) {
  std::mt19937 rng(4);
  for (int64_t group : {32, 64, 128, 576}) {
    for (int64_t groups = 1; groups <= 5; ++groups) {
      for (float static_scale : {0.0f, 0.02f, 1e-41f}) {
        std::vector<float> x = WithCorners(rng, group * groups);
        if (groups == 3) std::fill(x.begin(), x.end(), 0.0f);
        if (groups == 4) x[5] = -kInfinity;
        if (groups == 5) std::fill(x.begin(), x.end(), 1e-45f);
        for (const bool one_scale : {false, true}) {
          const Quantized expected(Scalar(), x, group, static_scale, one_scale);
          for (const KernelTable& table : SupportedKernels()) {
            const Quantized found(table, x, group, static_scale, one_scale);
            ExpectSameBits(expected.q, found.q, table.name);
            ExpectSameBits(expected.sums, found.sums, table.name);
            ExpectSameBits(expected.scales, found.scales, table.name);
          }
        }
      }
    }
  }
}

struct Int4Fits {
  std::vector<float> wq, qq;

  Int4Fits(const KernelTable& table, const std::vector<float>& w, const std::vector<float>& d,
           const std::vector<float>& inverse_scales, const std::vector<float>& lowest)
      : wq(inverse_scales.size(), 7.0f), qq(wq) {
    std::vector<float> dw(w.size());
    for (size_t i = 0; i < w.size(); ++i) dw[i] = d[i] * w[i];
    table.fit_int4({w.data(), d.data(), dw.data(), static_cast<int64_t>(w.size()),
                    inverse_scales.data(), lowest.data(),
                    static_cast<int64_t>(inverse_scales.size()), wq.data(), qq.data()});
  }
};

TEST(FitInt4, AllTablesGiveTheBitsOfScalar) {
  std::mt19937 rng(6);
  for (int64_t n : {16, 32, 128, 208}) {
    const std::vector<float> w = WithCorners(rng, n), d = WithCorners(rng, n);
    const std::vector<float> inverse_scales = {2.5f, -0.5f, 0.0f, 1e30f, 1e-30f, 2.5f, 1e30f};
    const std::vector<float> lowest = {-8, -8, -8, -8, -8, -15, 0};
    const Int4Fits expected(Scalar(), w, d, inverse_scales, lowest);
    for (const KernelTable& table : SupportedKernels()) {
      const Int4Fits found(table, w, d, inverse_scales, lowest);
      ExpectSameBits(expected.wq, found.wq, table.name);
      ExpectSameBits(expected.qq, found.qq, table.name);
    }
  }
}

TEST(FitInt4, ScalarIsTheFormula) {
  std::mt19937 rng(7);
  const std::vector<float> w = Normal(rng, 64, 3), d = Normal(rng, 64);
  const std::vector<float> inverse_scales = {2.5f, -0.5f, 1.0f, 2.0f};
  const std::vector<float> lowest = {-8, -8, -8, -4};
  const Int4Fits fits(Scalar(), w, d, inverse_scales, lowest);
  for (size_t c = 0; c < inverse_scales.size(); ++c) {
    double wq = 0, qq = 0, size = 0;
    for (size_t i = 0; i < w.size(); ++i) {
      const double q =
          std::clamp(std::nearbyint(w[i] * inverse_scales[c]), lowest[c], lowest[c] + 15);
      wq += d[i] * w[i] * q;
      qq += d[i] * q * q;
      size += std::fabs(d[i] * w[i] * q) + std::fabs(d[i] * q * q);
    }
    // Sums of 4 terms in each lane, then 4 more, and a product.
    EXPECT_NEAR(fits.wq[c], wq, 5 * kUlp * size);
    EXPECT_NEAR(fits.qq[c], qq, 5 * kUlp * size);
  }
}

// NaN and infinity are not lost in integers, denormals are zeros, and the largest numbers stay
// finite; on all ISAs alike.
TEST(QuantizeRow, AllTablesAgreeOnWhatIsNotOrdinary) {
  constexpr float kLargest = std::numeric_limits<float>::max(), kDenormal = 1e-44f;
  for (const float corner : {0.0f, kDenormal, 200 * kDenormal, 1e-38f, kLargest, -kLargest,
                             kInfinity, -kInfinity, std::numeric_limits<float>::quiet_NaN()}) {
    for (const float static_scale : {0.0f, kDenormal, 0.01f, 1e36f}) {
      for (const float rest : {0.0f, 1.0f}) {
        std::vector<float> x(64, rest);
        x[40] = corner;
        const Quantized expected(Scalar(), x, 32, static_scale);
        const float scale = expected.scales[1];
        EXPECT_EQ(std::isnan(scale), !std::isfinite(corner)) << corner;
        if (std::isfinite(corner)) {
          EXPECT_GT(scale, 0) << corner;
          // 128 of 127.5 steps of the largest float are more than there is.
          EXPECT_TRUE(std::isfinite(scale * expected.q[40]) || std::fabs(corner) == kLargest)
              << corner;
        }
        for (const KernelTable& table : SupportedKernels()) {
          const Quantized found(table, x, 32, static_scale);
          ExpectSameBits(expected.scales, found.scales, table.name);
          ExpectSameBits(expected.q, found.q, table.name);
          ExpectSameBits(expected.sums, found.sums, table.name);
        }
      }
    }
  }
}

TEST(QuantizeRow, ScalarIsTheFormula) {
  std::mt19937 rng(5);
  std::vector<float> x = Normal(rng, 128);
  x[7] = 5.5f;  // the largest; 5.5 / scale = 127.5 rounds to 128 and is clamped
  x[8] = -5.5f;
  x[70] = 7.0f;
  const Quantized dynamic(Scalar(), x, 32, 0);
  EXPECT_EQ(dynamic.scales[0], 5.5f / 127.5f);
  EXPECT_EQ(dynamic.q[7], 127);
  EXPECT_EQ(dynamic.q[8], -128);
  EXPECT_EQ(dynamic.scales[2], 7.0f / 127.5f);
  const Quantized by_token(Scalar(), x, 32, 0, /*one_scale=*/true);
  EXPECT_EQ(by_token.scales, std::vector<float>(4, 7.0f / 127.5f));
  const Quantized fixed(Scalar(), x, 32, 0.03125f);
  EXPECT_EQ(fixed.scales, std::vector<float>(4, 0.03125f));
  for (const Quantized* r : {&dynamic, &by_token, &fixed}) {
    std::vector<int32_t> sums(4);
    for (size_t i = 0; i < x.size(); ++i) {
      EXPECT_EQ(r->q[i], std::clamp(std::nearbyint(x[i] / r->scales[i / 32]), -128.0f, 127.0f));
      sums[i / 32] += r->q[i];
    }
    EXPECT_EQ(r->sums, sums);
  }
}

TEST(QuantizeRow, TheSumOfTheLongestGroupIsExact) {
  for (const float value : {-2.0f, 0.99f}) {  // -128, and 99 with a remainder
    const std::vector<float> x(Size(kMaxGroupSize), value);
    std::vector<int8_t> q(x.size());
    float scale = 0;
    int32_t sum = 0;
    for (const KernelTable& table : SupportedKernels()) {
      table.quantize_row({.x = x.data(),
                          .n = kMaxGroupSize,
                          .group_size = kMaxGroupSize,
                          .static_scale = 0.01f,
                          .one_scale = true,
                          .q = q.data(),
                          .scales = &scale,
                          .group_sums = &sum});
      EXPECT_EQ(sum, (value < 0 ? -128 : 99) * kMaxGroupSize) << table.name;
    }
  }
}

TEST(QuantizeRow, HalvesGoToEvenAndZerosHaveScaleOne) {
  std::vector<float> x(32, 0.0f);
  EXPECT_EQ(Quantized(Scalar(), x, 32, 0).scales[0], 1);
  x = std::vector<float>(32, 2.5f);
  x[1] = 3.5f;
  x[2] = -0.5f;
  const Quantized r(Scalar(), x, 32, 1);
  EXPECT_EQ(r.q[0], 2);
  EXPECT_EQ(r.q[1], 4);
  EXPECT_EQ(r.q[2], 0);
}

TEST(Rope, AllTablesGiveTheBitsOfScalarAndTheFormula) {
  std::mt19937 rng(6);
  for (int64_t head_dim : {8, 16, 64, 80, 128}) {
    for (int64_t rotary : {head_dim, head_dim / 2, int64_t{2}}) {
      const int64_t heads = 3, half = rotary / 2;
      const std::vector<float> x = WithCorners(rng, heads * head_dim);
      const std::vector<float> cos = Normal(rng, half), sin = Normal(rng, half);
      std::vector<float> expected = x;
      for (int64_t h = 0; h < heads; ++h) {
        for (int64_t i = 0; i < half; ++i) {
          const size_t low = Size(h * head_dim + i), high = Size(h * head_dim + i + half);
          const float c = cos[Size(i)], s = sin[Size(i)];
          const float ac = x[low] * c, bs = x[high] * s, bc = x[high] * c, as = x[low] * s;
          expected[low] = ac - bs;
          expected[high] = bc + as;
        }
      }
      for (const KernelTable& table : SupportedKernels()) {
        std::vector<float> found = x;
        table.rope({found.data(), heads, head_dim, rotary, cos.data(), sin.data()});
        ExpectSameBits(expected, found, table.name);
      }
    }
  }
}

}  // namespace
}  // namespace fptq
