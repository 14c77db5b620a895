// How likely a model finds a token: of its logits as they are.
#pragma once

#include <cstdint>
#include <span>

#include "engine/request.h"

namespace fptq {

// The logarithm of softmax: log p = (logit - largest) - log_sum.
struct LogSoftmax {
  double largest = 0;
  double log_sum = 0;  // log of the sum of exp(logit - largest)

  explicit LogSoftmax(std::span<const float> logits);
  double Of(float logit) const { return (static_cast<double>(logit) - largest) - log_sum; }
};

// The token's, and those of the `top` most likely of `ids`; of equal ones the lowest id comes
// first. Error if a logit is NaN or the largest not finite.
TokenLogProbability ScoreToken(std::span<const float> logits, int32_t token,
                               std::span<const int32_t> ids, int64_t top);

}  // namespace fptq
