// What sampling needs of many logits, fast.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace fptq {

// The largest of the numbers; NaN if one of them is. At least one.
float Largest(std::span<const float> numbers);

// The first place where `number` is. It has to be there.
int64_t FirstPlace(std::span<const float> numbers, float number);

// The sum of Exp(logit - largest), added in order; no logit is larger.
double SumOfExponentials(std::span<const float> logits, float largest);

// exp((logit - largest) / temperature) of each logit, by the kernels in float: the same bits
// everywhere, and next to nothing beside the exact ones in time.
class FloatExponentials {
 public:
  // No logit is larger.
  void Assign(std::span<const float> logits, float largest, double temperature);

  std::span<const float> of_each() const { return of_each_; }  // below 10^-38: 0
  double sum() const { return sum_; }
  // The first place where the sum of all up to it exceeds `part` of that of all, 0 <= part < 1.
  // It is none of those that are 0.
  int64_t PlaceOf(double part) const;

 private:
  std::vector<float> of_each_, of_blocks_;
  double sum_ = 0;
};

// Relative errors that are not exceeded: of one of them that is not 0, and of a sum of 2^24 of them
// at most, the largest one of 1 included. The exponents' rounding to float makes the error of one
// grow with its exponent, which what counts in a sum does not have.
inline constexpr double kExponentialError = 0x1p-14;
inline constexpr double kExponentialSumError = 0x1p-16;

}  // namespace fptq
