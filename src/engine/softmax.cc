#include "engine/softmax.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "base/math.h"

namespace fptq {
namespace {

// Loops over so many numbers side by side are what compilers make vectors of.
constexpr size_t kLanes = 16;
// Numbers that are added in float before their sum is added in double.
constexpr size_t kBlock = 256;

// exp(x) for x from -87 to 0, within |x| 2^-23 + 2^-21.
inline float ApproximateExp(float x) {
  constexpr float kRound = 0x1.8p23f;  // added to a small number, leaves an integer in its low bits
  const float scaled = x * 0x1.715476p+0f;  // of 2^scaled
  const float rounded = scaled + kRound;
  const float f = scaled - (rounded - kRound);
  // Taylor's, of 2^f for |f| <= 1/2: the next term is below 2^-22.
  float p = 0x1.430912p-13f;
  p = p * f + 0x1.5d87fep-10f;
  p = p * f + 0x1.3b2ab6p-7f;
  p = p * f + 0x1.c6b08ep-5f;
  p = p * f + 0x1.ebfbep-3f;
  p = p * f + 0x1.62e43p-1f;
  p = p * f + 1.0f;
  const uint32_t exponent = std::bit_cast<uint32_t>(rounded) << 23;
  return std::bit_cast<float>(std::bit_cast<uint32_t>(p) + exponent);
}

float Sum(std::span<const float> numbers) {
  float sums[kLanes] = {};
  size_t i = 0;
  for (; i + kLanes <= numbers.size(); i += kLanes) {
    for (size_t lane = 0; lane < kLanes; ++lane) sums[lane] += numbers[i + lane];
  }
  float sum = 0;
  for (; i < numbers.size(); ++i) sum += numbers[i];
  for (const float lane : sums) sum += lane;
  return sum;
}

}  // namespace

float Largest(std::span<const float> numbers) {
  float largest[kLanes];
  uint32_t nan[kLanes] = {};
  std::ranges::fill(largest, -std::numeric_limits<float>::infinity());
  const auto look = [&](size_t lane, float x) {
    largest[lane] = x > largest[lane] ? x : largest[lane];
    nan[lane] |= x != x ? 1u : 0u;
  };
  size_t i = 0;
  for (; i + kLanes <= numbers.size(); i += kLanes) {
    for (size_t lane = 0; lane < kLanes; ++lane) look(lane, numbers[i + lane]);
  }
  for (; i < numbers.size(); ++i) look(i % kLanes, numbers[i]);
  if (std::ranges::any_of(nan, [](uint32_t flag) { return flag != 0; })) {
    return std::numeric_limits<float>::quiet_NaN();
  }
  return *std::ranges::max_element(largest);
}

int64_t FirstPlace(std::span<const float> numbers, float number) {
  for (size_t begin = 0; begin < numbers.size(); begin += kBlock) {
    const auto block = numbers.subspan(begin, std::min(kBlock, numbers.size() - begin));
    uint32_t found = 0;
    for (const float x : block) found |= x == number ? 1u : 0u;
    if (found != 0)
      return std::ranges::find(block, number) - block.begin() + std::ssize(numbers.first(begin));
  }
  FPTQ_CHECK(false && "the number is there");
  return -1;
}

double SumOfExponentials(std::span<const float> logits, float largest) {
  double differences[kBlock], sum = 0;
  for (size_t begin = 0; begin < logits.size(); begin += kBlock) {
    const size_t count = std::min(kBlock, logits.size() - begin);
    for (size_t i = 0; i < count; ++i) {
      differences[i] = double{logits[begin + i]} - double{largest};
    }
    ExpEach({differences, count});
    for (size_t i = 0; i < count; ++i) sum += differences[i];
  }
  return sum;
}

double ApproximateExponentials(std::span<const float> logits, float largest, double temperature,
                               std::span<float> results) {
  FPTQ_CHECK(results.size() == logits.size());
  // Of a temperature near 0, everything but the largest ends at the least exponential.
  const auto inverse = static_cast<float>(std::min(1 / temperature, 1e30));
  double sum = 0;
  for (size_t begin = 0; begin < logits.size(); begin += kBlock) {
    const size_t end = std::min(begin + kBlock, logits.size());
    // In two loops, as compilers make vectors of neither if they are one.
    for (size_t i = begin; i < end; ++i) {
      const float x = (logits[i] - largest) * inverse;
      results[i] = x > -87.0f ? x : -87.0f;
    }
    for (size_t i = begin; i < end; ++i) results[i] = ApproximateExp(results[i]);
    sum += double{Sum(results.subspan(begin, end - begin))};
  }
  return sum;
}

int64_t PlaceOfSum(std::span<const float> numbers, double sum, double& before) {
  before = 0;
  for (size_t begin = 0; begin < numbers.size(); begin += kBlock) {
    const auto block = numbers.subspan(begin, std::min(kBlock, numbers.size() - begin));
    const double of_block = Sum(block);
    if (before + of_block <= sum && begin + kBlock < numbers.size()) {
      before += of_block;
      continue;
    }
    for (size_t i = 0; i < block.size(); ++i) {
      if (before + double{block[i]} > sum) return static_cast<int64_t>(begin + i);
      before += double{block[i]};
    }
  }
  return std::ssize(numbers) - 1;
}

}  // namespace fptq
