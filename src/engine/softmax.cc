#include "engine/softmax.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/math.h"
#include "kernels/dispatch.h"

namespace fptq {
namespace {

constexpr size_t kBlock = kSumBlock;

}  // namespace

float Largest(std::span<const float> numbers) {
  FPTQ_CHECK(!numbers.empty());
  return Kernels().largest({.x = numbers.data(), .n = std::ssize(numbers)});
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

void FloatExponentials::Assign(std::span<const float> logits, float largest, double temperature) {
  of_each_.resize(logits.size());
  of_blocks_.resize((logits.size() + kBlock - 1) / kBlock);
  // Of a temperature near 0, the largest alone has an exponential.
  Kernels().exponentials({.x = logits.data(),
                          .n = std::ssize(logits),
                          .offset = largest,
                          .factor = static_cast<float>(std::min(1 / temperature, 1e30)),
                          .out = of_each_.data(),
                          .block_sums = of_blocks_.data()});
  sum_ = 0;
  for (const float sum : of_blocks_) sum_ += double{sum};
}

int64_t FloatExponentials::PlaceOf(double part) const {
  const double wanted = part * sum_;
  double before = 0, before_block = 0;
  size_t block = 0;  // the first that exceeds it, or, for rounding, the last that is not 0
  for (size_t i = 0; i < of_blocks_.size() && before <= wanted; ++i) {
    if (of_blocks_[i] == 0) continue;
    block = i;
    before_block = std::exchange(before, before + double{of_blocks_[i]});
  }
  double sum = before_block;
  size_t place = 0;
  for (size_t i = block * kBlock; i < of_each_.size() && i < (block + 1) * kBlock && sum <= wanted;
       ++i) {
    if (of_each_[i] == 0) continue;
    place = i;
    sum += double{of_each_[i]};
  }
  return static_cast<int64_t>(place);
}

}  // namespace fptq
