// What sampling needs of many logits, fast.
#pragma once

#include <cstdint>
#include <span>

namespace fptq {

// The largest of the numbers; NaN if one of them is. At least one.
float Largest(std::span<const float> numbers);

// The first place where `number` is. It has to be there.
int64_t FirstPlace(std::span<const float> numbers, float number);

// The sum of Exp(logit - largest), added in order; no logit is larger.
double SumOfExponentials(std::span<const float> logits, float largest);

// Relative errors that are not exceeded: of a result of ApproximateExponentials, and of a sum of
// 2^24 of them at most, the largest one of 1 included. The exponents' rounding to float makes the
// error of a result grow with its exponent, which what counts in a sum does not have.
inline constexpr double kExponentialError = 0x1p-14;
inline constexpr double kExponentialSumError = 0x1p-16;

// results[i] = exp((logits[i] - largest) / temperature), roughly, and not below exp(-87), about
// 10^-38. Returns their sum.
double ApproximateExponentials(std::span<const float> logits, float largest, double temperature,
                               std::span<float> results);

// The place where the sum of all numbers up to it exceeds `sum` first, which has to be less than
// that of all of them; `before` becomes the sum of those before it.
int64_t PlaceOfSum(std::span<const float> numbers, double sum, double& before);

}  // namespace fptq
