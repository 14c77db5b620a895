#include "engine/softmax.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <utility>
#include <vector>

namespace fptq {
namespace {

std::vector<float> Numbers(size_t count, float width) {
  std::mt19937 random(static_cast<uint32_t>(count));
  std::uniform_real_distribution<float> uniform(-width, width);
  std::vector<float> numbers(count);
  for (float& number : numbers) number = uniform(random);
  return numbers;
}

TEST(Softmax, FindsTheLargestAndItsFirstPlace) {
  for (const size_t count : {1, 2, 15, 16, 17, 255, 256, 257, 1000}) {
    std::vector<float> numbers = Numbers(count, 10);
    for (const size_t at : {size_t{0}, count / 2, count - 1}) {
      numbers[at] = 20;
      EXPECT_EQ(Largest(numbers), 20);
      EXPECT_EQ(
          FirstPlace(numbers, 20),
          static_cast<int64_t>(std::find(numbers.begin(), numbers.end(), 20.0f) - numbers.begin()));
      const float before = std::exchange(numbers[at], std::nanf(""));
      EXPECT_TRUE(std::isnan(Largest(numbers))) << count << " " << at;
      numbers[at] = before;
    }
  }
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(Largest(std::vector<float>(20, -kInfinity)), -kInfinity);
}

TEST(Softmax, ExponentialsAreWithinTheirError) {
  FloatExponentials exponentials;
  for (const double temperature : {1e-40, 0.01, 0.7, 1.0, 3.0, 1e30}) {
    for (const float width : {0.0f, 1.0f, 10.0f, 43.0f}) {
      const std::vector<float> logits = Numbers(1001, width);
      const float largest = Largest(logits);
      exponentials.Assign(logits, largest, temperature);
      double exact_sum = 0;
      for (size_t i = 0; i < logits.size(); ++i) {
        const double x = (double{logits[i]} - double{largest}) / temperature;
        const double exact = x > -87.3 ? std::exp(x) : 0;
        EXPECT_NEAR(exponentials.of_each()[i], exact, exact * kExponentialError) << x;
        exact_sum += exact;
      }
      EXPECT_NEAR(exponentials.sum(), exact_sum, exact_sum * kExponentialSumError);
    }
  }
}

// Exponentials of 1/8, 1/4, 1/2 and 1 far from each other.
TEST(Softmax, FindsThePlaceOfASum) {
  constexpr float kNever = -std::numeric_limits<float>::infinity();
  std::vector<float> logits(1300, kNever);
  const auto log2 = [](double x) { return static_cast<float>(x * std::log(2.0)); };
  logits[3] = log2(-3);
  logits[255] = log2(-2);
  logits[256] = log2(-1);
  logits[1100] = 0;  // then a block of zeros
  FloatExponentials exponentials;
  exponentials.Assign(logits, 0, /*temperature=*/1);
  const double sum = 1.875, error = 1e-5;
  EXPECT_NEAR(exponentials.sum(), sum, error);
  EXPECT_EQ(exponentials.PlaceOf(0), 3);
  EXPECT_EQ(exponentials.PlaceOf(0.125 / sum - error), 3);
  EXPECT_EQ(exponentials.PlaceOf(0.125 / sum + error), 255);
  EXPECT_EQ(exponentials.PlaceOf(0.375 / sum - error), 255);
  EXPECT_EQ(exponentials.PlaceOf(0.375 / sum + error), 256);
  EXPECT_EQ(exponentials.PlaceOf(0.875 / sum - error), 256);
  EXPECT_EQ(exponentials.PlaceOf(0.875 / sum + error), 1100);
  EXPECT_EQ(exponentials.PlaceOf(1 - 0x1p-53), 1100);
}

// But for rounding, as sums go block by block.
TEST(Softmax, ThePlaceIsTheFirstWhoseSumExceedsIt) {
  std::mt19937_64 random(1);
  FloatExponentials exponentials;
  for (const float width : {0.0f, 1.0f, 40.0f}) {
    const std::vector<float> logits = Numbers(3001, width);
    exponentials.Assign(logits, Largest(logits), /*temperature=*/1);
    const std::span<const float> weights = exponentials.of_each();
    for (int i = 0; i < 1000; ++i) {
      const double part = static_cast<double>(random() >> 11) * 0x1p-53;
      const auto place = static_cast<size_t>(exponentials.PlaceOf(part));
      double before = 0;
      for (size_t j = 0; j < place; ++j) before += double{weights[j]};
      const double after = before + double{weights[place]}, error = 1e-6 * exponentials.sum();
      EXPECT_LE(before, part * exponentials.sum() + error);
      EXPECT_GT(after, part * exponentials.sum() - error);
      EXPECT_GT(weights[place], 0);
    }
  }
}

}  // namespace
}  // namespace fptq
