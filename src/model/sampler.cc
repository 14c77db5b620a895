#include "model/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "base/math.h"

namespace fptq {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

void CheckRange(const char* name, double value, double min, double max) {
  if (!(value >= min && value <= max)) {
    throw Error("{}: expected a number from {} to {}, found {}", name, min, max, value);
  }
}

}  // namespace

void Validate(const SamplerOptions& options) {
  CheckRange("temperature", options.temperature, 0, std::numeric_limits<float>::max());
  CheckRange("top-k", static_cast<double>(options.top_k), 0, kInfinity);
  CheckRange("top-p", options.top_p, 0, 1);
  CheckRange("min-p", options.min_p, 0, 1);
  CheckRange("repeat-penalty", options.repeat_penalty, 0.01, 100);
  CheckRange("repeat-window", static_cast<double>(options.repeat_window), 0, kInfinity);
}

int32_t BestToken(std::span<const float> logits, std::span<const int32_t> ids) {
  int32_t best = -1;
  float largest = -std::numeric_limits<float>::infinity();
  for (const int32_t id : ids) {
    const float logit = logits[static_cast<size_t>(id)];
    if (std::isnan(logit)) throw Error("logit of token {} is NaN", id);
    if (logit > largest) {
      best = id;
      largest = logit;
    }
  }
  if (!std::isfinite(largest)) {
    throw Error("cannot choose a token: the largest logit is not finite");
  }
  return best;
}

bool Sampler::Better(const Candidate& a, const Candidate& b) {
  return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
}

Sampler::Sampler(const SamplerOptions& options, std::span<const int32_t> ids)
    : options_(options), ids_(ids), generator_(options.seed) {
  Validate(options);
  candidates_.reserve(ids.size());
}

int32_t Sampler::Sample(std::span<const float> logits, std::span<const int32_t> history) {
  logits_.assign(logits.begin(), logits.end());
  Penalize(history);
  const int32_t best_token = BestToken(logits_, ids_);
  if (options_.temperature == 0) return best_token;
  const float best = logits_[static_cast<size_t>(best_token)];
  KeepTopK(best);
  KeepTopP();
  KeepMinP();
  return Draw(best);
}

void Sampler::Penalize(std::span<const int32_t> history) {
  if (options_.repeat_penalty == 1) return;
  const auto penalty = static_cast<float>(options_.repeat_penalty);
  const auto window = static_cast<size_t>(options_.repeat_window);
  const auto recent = history.last(std::min(history.size(), window));
  for (size_t i = 0; i < recent.size(); ++i) {
    const auto earlier = recent.first(i);  // however often a token occurs, it is penalized once
    if (std::find(earlier.begin(), earlier.end(), recent[i]) != earlier.end()) continue;
    float& logit = logits_[static_cast<size_t>(recent[i])];
    logit = logit > 0 ? logit / penalty : logit * penalty;
  }
}

// The candidates are then in descending order, unless top-k is off: then by id, and without those
// of -inf.
void Sampler::KeepTopK(float best) {
  const auto k = options_.top_k == 0 ? ids_.size()
                                     : std::min(ids_.size(), static_cast<size_t>(options_.top_k));
  const bool all = k == ids_.size();
  candidates_.clear();
  for (const int32_t id : ids_) {
    const Candidate candidate{id, logits_[static_cast<size_t>(id)], 0};
    if (std::isinf(candidate.logit)) continue;
    if (candidates_.size() == k) {  // a heap with the worst on top; ids come in ascending order
      if (candidate.logit <= candidates_.front().logit) continue;
      std::pop_heap(candidates_.begin(), candidates_.end(), Better);
      candidates_.pop_back();
    }
    candidates_.push_back(candidate);
    if (!all) std::push_heap(candidates_.begin(), candidates_.end(), Better);
  }
  if (!all) std::sort_heap(candidates_.begin(), candidates_.end(), Better);

  double sum = 0;
  for (Candidate& c : candidates_) {
    c.probability = Exp(static_cast<double>(c.logit) - static_cast<double>(best));
    sum += c.probability;
  }
  for (Candidate& c : candidates_) c.probability /= sum;
}

void Sampler::KeepTopP() {
  if (options_.top_p >= 1) return;
  // Tokens below (1 - p) / n have less than 1 - p together, so the fewest that have p are among the
  // others: what is left to sort is small even if top-k is off.
  const double floor = (1 - options_.top_p) / static_cast<double>(candidates_.size());
  std::erase_if(candidates_, [floor](const Candidate& c) { return c.probability < floor; });
  std::sort(candidates_.begin(), candidates_.end(), Better);
  double sum = 0;
  for (size_t i = 0; i < candidates_.size(); ++i) {
    sum += candidates_[i].probability;
    if (sum >= options_.top_p) {
      candidates_.resize(i + 1);
      return;
    }
  }
}

void Sampler::KeepMinP() {
  if (options_.min_p == 0) return;
  double largest = 0;
  for (const Candidate& c : candidates_) largest = std::max(largest, c.probability);
  const double floor = options_.min_p * largest;
  std::erase_if(candidates_, [floor](const Candidate& c) { return c.probability < floor; });
}

int32_t Sampler::Draw(float best) {
  double sum = 0;
  for (Candidate& c : candidates_) {
    const double difference = static_cast<double>(c.logit) - static_cast<double>(best);
    c.probability = Exp(difference / options_.temperature);
    sum += c.probability;
  }
  const double uniform = static_cast<double>(generator_() >> 11) * 0x1p-53;  // [0, 1)
  double rest = uniform * sum;
  for (const Candidate& c : candidates_) {
    rest -= c.probability;
    if (rest < 0) return c.id;
  }
  return candidates_.back().id;  // rounding
}

}  // namespace fptq
