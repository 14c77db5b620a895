#include "engine/log_probability.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/error.h"
#include "base/math.h"
#include "engine/sampler.h"
#include "engine/softmax.h"

namespace fptq {
namespace {

// In descending order.
std::vector<TokenLogProbability::Alternative> MostLikely(std::span<const float> logits,
                                                         const LogSoftmax& softmax,
                                                         std::span<const int32_t> ids,
                                                         int64_t top) {
  const auto logit = [&](int32_t id) { return logits[static_cast<size_t>(id)]; };
  const auto better = [&](int32_t a, int32_t b) {
    return logit(a) != logit(b) ? logit(a) > logit(b) : a < b;
  };
  const auto count = std::min(ids.size(), static_cast<size_t>(top));
  if (count == 0) return {};
  if (count == 1) {
    const int32_t best = BestToken(logits, ids);
    return {{best, softmax.Of(logit(best))}};
  }
  std::vector<int32_t> best;  // a heap with the worst on top
  for (const int32_t id : ids) {
    if (best.size() == count) {
      if (logit(id) <= logit(best.front())) continue;
      std::pop_heap(best.begin(), best.end(), better);
      best.pop_back();
    }
    best.push_back(id);
    std::push_heap(best.begin(), best.end(), better);
  }
  std::sort_heap(best.begin(), best.end(), better);
  std::vector<TokenLogProbability::Alternative> alternatives;
  for (const int32_t id : best) alternatives.push_back({id, softmax.Of(logit(id))});
  return alternatives;
}

}  // namespace

LogSoftmax::LogSoftmax(std::span<const float> logits) : largest(double{Largest(logits)}) {
  log_sum = Log(SumOfExponentials(logits, static_cast<float>(largest)));
}

TokenLogProbability ScoreToken(std::span<const float> logits, int32_t token,
                               std::span<const int32_t> ids, int64_t top) {
  const LogSoftmax softmax(logits);
  if (!std::isfinite(softmax.largest) || !std::isfinite(softmax.log_sum)) {
    throw Error("the log-probability of token {} is not finite", token);
  }
  return {.token = token,
          .log_probability = softmax.Of(logits[static_cast<size_t>(token)]),
          .top = MostLikely(logits, softmax, ids, top)};
}

}  // namespace fptq
