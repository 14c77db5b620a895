#include "quant/round/cholesky.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

namespace fptq {
namespace {

// X^T X of `rows` random rows, plus `damping` on the diagonal.
std::vector<float> Gram(int64_t n, int64_t rows, float damping) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  std::vector<float> x(static_cast<size_t>(rows * n));
  for (float& value : x) value = normal(random);
  std::vector<float> gram(static_cast<size_t>(n * n));
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      double sum = i == j ? damping : 0;
      for (int64_t r = 0; r < rows; ++r) {
        sum +=
            double{x[static_cast<size_t>(r * n + i)]} * double{x[static_cast<size_t>(r * n + j)]};
      }
      gram[static_cast<size_t>(i * n + j)] = static_cast<float>(sum);
    }
  }
  return gram;
}

TEST(FactorUpper, GivesTheMatrixBack) {
  ThreadPool pool(2);
  for (const int64_t n : {32, 64, 96, 160, 320}) {
    const std::vector<float> h = Gram(n, 2 * n, 0);
    std::vector<float> r = h;
    ASSERT_TRUE(FactorUpper(r, n, /*least=*/0, pool));
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t j = 0; j < n; ++j) {
        double sum = 0;
        for (int64_t c = 0; c < n; ++c) {
          sum +=
              double{r[static_cast<size_t>(i * n + c)]} * double{r[static_cast<size_t>(j * n + c)]};
        }
        // The bound of a Cholesky factor's backward error, n eps sqrt(h_ii h_jj); eps of float32.
        const double scale = std::sqrt(double{h[static_cast<size_t>(i * n + i)]} *
                                       double{h[static_cast<size_t>(j * n + j)]});
        ASSERT_NEAR(sum, h[static_cast<size_t>(i * n + j)],
                    static_cast<double>(n) * 0x1p-24 * scale)
            << n << " " << i << " " << j;
        if (j < i) {
          ASSERT_EQ(r[static_cast<size_t>(i * n + j)], 0);
        }
      }
      ASSERT_GT(r[static_cast<size_t>(i * n + i)], 0);
    }
  }
}

TEST(FactorUpper, DoesNotDependOnThreads) {
  const std::vector<float> h = Gram(320, 400, 1);
  ThreadPool one(1), three(3);
  std::vector<float> a = h, b = h;
  ASSERT_TRUE(FactorUpper(a, 320, /*least=*/0, one));
  ASSERT_TRUE(FactorUpper(b, 320, /*least=*/0, three));
  EXPECT_EQ(std::memcmp(a.data(), b.data(), a.size() * sizeof(float)), 0);
}

// H = x x^T + 0.25 I has no smaller eigenvalue than 0.25, and so R no smaller square; all but one
// of them are near it.
TEST(FactorUpper, SaysWhatIsNearlySingular) {
  ThreadPool pool(1);
  std::vector<float> h = Gram(32, 1, 0.25f);
  std::vector<float> r = h;
  ASSERT_TRUE(FactorUpper(r, 32, /*least=*/0.2, pool));
  r = h;
  EXPECT_FALSE(FactorUpper(r, 32, /*least=*/20, pool));
}

TEST(FactorUpper, SaysWhatIsNotPositiveDefinite) {
  ThreadPool pool(2);
  for (const float bad : {0.0f, -1.0f, std::numeric_limits<float>::quiet_NaN(),
                          std::numeric_limits<float>::infinity()}) {
    std::vector<float> h = Gram(96, 200, 0);
    h[5 * 96 + 5] = bad;
    EXPECT_FALSE(FactorUpper(h, 96, /*least=*/0, pool)) << bad;
  }
}

}  // namespace
}  // namespace fptq
