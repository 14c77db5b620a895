#include "model/rotation.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

namespace fptq {
namespace {

TEST(Rotate, KeepsProductsAndIsItsOwnInverse) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  for (const size_t n : {1, 2, 48, 64, 576}) {
    std::vector<float> x(n), w(n);
    for (float& value : x) value = normal(random);
    for (float& value : w) value = normal(random);
    const auto dot = [](const std::vector<float>& a, const std::vector<float>& b) {
      double sum = 0;
      for (size_t i = 0; i < a.size(); ++i) sum += double{a[i]} * double{b[i]};
      return sum;
    };
    const std::vector<float> before = x;
    const double product = dot(x, w), length = dot(x, x);
    Rotate(x);
    Rotate(w);
    // log2(n) + 1 roundings of each element.
    const double tolerance = 20 * 0x1p-24 * std::sqrt(length * dot(w, w));
    EXPECT_NEAR(dot(x, w), product, tolerance);
    Rotate(x);
    for (size_t i = 0; i < n; ++i) {
      EXPECT_NEAR(x[i], before[i], 20 * 0x1p-24 * std::sqrt(length));
    }
  }
}

TEST(Rotate, SpreadsAnOutlierOverItsBlock) {
  std::vector<float> x(192);
  x[70] = 16;
  Rotate(x);
  for (size_t i = 0; i < x.size(); ++i) EXPECT_EQ(std::abs(x[i]), i >= 64 && i < 128 ? 2 : 0);
}

}  // namespace
}  // namespace fptq
