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
  for (const double temperature : {1e-40, 0.01, 0.7, 1.0, 3.0, 1e30}) {
    for (const float width : {0.0f, 1.0f, 10.0f, 43.0f}) {
      const std::vector<float> logits = Numbers(1001, width);
      const float largest = Largest(logits);
      std::vector<float> results(logits.size());
      const double sum = ApproximateExponentials(logits, largest, temperature, results);
      double exact_sum = 0;
      for (size_t i = 0; i < logits.size(); ++i) {
        const double x = (double{logits[i]} - double{largest}) / temperature;
        const double exact = std::exp(std::max(x, -87.0));
        EXPECT_NEAR(results[i], exact, exact * kExponentialError) << x;
        exact_sum += exact;
      }
      EXPECT_NEAR(sum, exact_sum, exact_sum * kExponentialSumError);
    }
  }
}

TEST(Softmax, FindsThePlaceOfASum) {
  std::vector<float> numbers(700, 0.0f);
  numbers[3] = 1;
  numbers[255] = 2;
  numbers[256] = 4;
  numbers[699] = 8;
  double before = -1;
  EXPECT_EQ(PlaceOfSum(numbers, 0, before), 3);
  EXPECT_EQ(before, 0);
  EXPECT_EQ(PlaceOfSum(numbers, 1, before), 255);
  EXPECT_EQ(before, 1);
  EXPECT_EQ(PlaceOfSum(numbers, 2.9, before), 255);
  EXPECT_EQ(PlaceOfSum(numbers, 3, before), 256);
  EXPECT_EQ(before, 3);
  EXPECT_EQ(PlaceOfSum(numbers, 7, before), 699);
  EXPECT_EQ(before, 7);
  EXPECT_EQ(PlaceOfSum(numbers, 14.9, before), 699);
}

}  // namespace
}  // namespace fptq
