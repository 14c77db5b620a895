#include "engine/sampler.h"

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

void CheckToken(const char* name, int32_t token, std::span<const int32_t> ids) {
  if (!std::ranges::binary_search(ids, token)) {
    throw Error("{}: expected tokens of the vocabulary, found {}", name, token);
  }
}

}  // namespace

void Validate(const SamplerOptions& options, std::span<const int32_t> ids) {
  CheckRange("temperature", options.temperature, 0, std::numeric_limits<float>::max());
  CheckRange("top-k", static_cast<double>(options.top_k), 0, kInfinity);
  CheckRange("top-p", options.top_p, 0, 1);
  CheckRange("min-p", options.min_p, 0, 1);
  CheckRange("repeat-penalty", options.repeat_penalty, 0.01, 100);
  CheckRange("repeat-window", static_cast<double>(options.repeat_window), 0, kInfinity);
  CheckRange("presence-penalty", options.presence_penalty, -2, 2);
  CheckRange("frequency-penalty", options.frequency_penalty, -2, 2);
  for (const LogitBias& entry : options.logit_bias) {
    CheckToken("logit-bias", entry.token, ids);
    CheckRange("logit-bias", entry.bias, -100, 100);
  }
  for (const int32_t token : options.allowed_tokens) CheckToken("allowed-tokens", token, ids);
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
  Validate(options, ids);
  std::vector<int32_t>& allowed = options_.allowed_tokens;
  std::ranges::sort(allowed);
  allowed.erase(std::unique(allowed.begin(), allowed.end()), allowed.end());
}

std::span<const int32_t> Sampler::ids() const {
  return options_.allowed_tokens.empty() ? ids_ : std::span(options_.allowed_tokens);
}

int32_t Sampler::Sample(std::span<float> logits, const History& history, Scratch& scratch) {
  const auto restore = [&] {  // the last change first: a token may have been changed twice
    for (; !scratch.changes.empty(); scratch.changes.pop_back()) {
      const Scratch::Change& change = scratch.changes.back();
      logits[static_cast<size_t>(change.id)] = change.logit;
    }
  };
  scratch.changes.clear();
  try {
    Adjust(logits, history, scratch);
    const int32_t token = Choose(logits, scratch.candidates);
    restore();
    return token;
  } catch (...) {
    restore();
    throw;
  }
}

void Sampler::Adjust(std::span<float> logits, const History& history, Scratch& scratch) const {
  const auto change = [&](int32_t id, auto to) {
    float& logit = logits[static_cast<size_t>(id)];
    scratch.changes.push_back({id, logit});
    logit = to(logit);
  };
  for (const LogitBias& entry : options_.logit_bias) {
    change(entry.token, [&](float logit) { return logit + static_cast<float>(entry.bias); });
  }
  // Calls visit(id, how often it is there) for each of the tokens.
  const auto count = [&](std::span<const int32_t> tokens, auto visit) {
    scratch.tokens.assign(tokens.begin(), tokens.end());
    std::ranges::sort(scratch.tokens);
    for (auto begin = scratch.tokens.begin(); begin != scratch.tokens.end();) {
      const auto end = std::upper_bound(begin, scratch.tokens.end(), *begin);
      visit(*begin, end - begin);
      begin = end;
    }
  };
  if (options_.repeat_penalty != 1) {
    const auto penalty = static_cast<float>(options_.repeat_penalty);
    const auto window = static_cast<size_t>(options_.repeat_window);
    count(history.tokens.last(std::min(history.tokens.size(), window)), [&](int32_t id, int64_t) {
      change(id, [&](float logit) { return logit > 0 ? logit / penalty : logit * penalty; });
    });
  }
  if (options_.presence_penalty != 0 || options_.frequency_penalty != 0) {
    count(history.tokens.subspan(static_cast<size_t>(history.prompt)), [&](int32_t id, int64_t n) {
      const double penalty =
          options_.presence_penalty + options_.frequency_penalty * static_cast<double>(n);
      change(id, [&](float logit) { return logit - static_cast<float>(penalty); });
    });
  }
}

int32_t Sampler::Choose(std::span<const float> logits, std::vector<Candidate>& candidates) {
  const int32_t best_token = BestToken(logits, ids());
  if (options_.temperature == 0) return best_token;
  const float best = logits[static_cast<size_t>(best_token)];
  KeepTopK(logits, candidates);
  if (options_.top_p < 1 || options_.min_p > 0) {
    const double sum = SetExponentials(best, /*temperature=*/1, candidates);
    for (Candidate& c : candidates) c.probability /= sum;
    KeepTopP(candidates);
    KeepMinP(candidates);
  }
  return Draw(best, candidates);
}

// The candidates are then in descending order, unless top-k is off: then by id, and without those
// of -inf.
void Sampler::KeepTopK(std::span<const float> logits, std::vector<Candidate>& candidates) const {
  const size_t count = ids().size();
  const auto k = options_.top_k == 0 ? count : std::min(count, static_cast<size_t>(options_.top_k));
  const bool all = k == count;
  candidates.clear();
  for (const int32_t id : ids()) {
    const Candidate candidate{id, logits[static_cast<size_t>(id)], 0};
    if (std::isinf(candidate.logit)) continue;
    if (candidates.size() == k) {  // a heap with the worst on top; ids come in ascending order
      if (candidate.logit <= candidates.front().logit) continue;
      std::pop_heap(candidates.begin(), candidates.end(), Better);
      candidates.pop_back();
    }
    candidates.push_back(candidate);
    if (!all) std::push_heap(candidates.begin(), candidates.end(), Better);
  }
  if (!all) std::sort_heap(candidates.begin(), candidates.end(), Better);
}

void Sampler::KeepTopP(std::vector<Candidate>& candidates) const {
  if (options_.top_p >= 1) return;
  // Tokens below (1 - p) / n have less than 1 - p together, so the fewest that have p are among the
  // others: what is left to sort is small even if top-k is off.
  const double floor = (1 - options_.top_p) / static_cast<double>(candidates.size());
  std::erase_if(candidates, [floor](const Candidate& c) { return c.probability < floor; });
  std::sort(candidates.begin(), candidates.end(), Better);
  double sum = 0;
  for (size_t i = 0; i < candidates.size(); ++i) {
    sum += candidates[i].probability;
    if (sum >= options_.top_p) {
      candidates.resize(i + 1);
      return;
    }
  }
}

void Sampler::KeepMinP(std::vector<Candidate>& candidates) const {
  if (options_.min_p == 0) return;
  double largest = 0;
  for (const Candidate& c : candidates) largest = std::max(largest, c.probability);
  const double floor = options_.min_p * largest;
  std::erase_if(candidates, [floor](const Candidate& c) { return c.probability < floor; });
}

int32_t Sampler::Draw(float best, std::vector<Candidate>& candidates) {
  const double sum = SetExponentials(best, options_.temperature, candidates);
  const double uniform = static_cast<double>(generator_() >> 11) * 0x1p-53;  // [0, 1)
  double rest = uniform * sum;
  for (const Candidate& c : candidates) {
    rest -= c.probability;
    if (rest < 0) return c.id;
  }
  return candidates.back().id;  // rounding
}

// Gives each candidate its probability up to a factor; returns their sum.
double Sampler::SetExponentials(float best, double temperature,
                                std::vector<Candidate>& candidates) {
  double sum = 0;
  for (Candidate& c : candidates) {
    const double difference = static_cast<double>(c.logit) - static_cast<double>(best);
    c.probability = Exp(difference / temperature);
    sum += c.probability;
  }
  return sum;
}

}  // namespace fptq
