#include "engine/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "base/math.h"
#include "engine/softmax.h"

namespace fptq {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

void CheckRange(const char* name, double value, double min, double max) {
  if (!(value >= min && value <= max)) {
    throw Error("{}: expected a number from {} to {}, found {}", name, min, max, value);
  }
}

// They are ascending.
bool Consecutive(std::span<const int32_t> ids) {
  return !ids.empty() && std::ssize(ids) == int64_t{ids.back()} - ids.front() + 1;
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
  if (Consecutive(ids)) {
    const auto of_ids = logits.subspan(static_cast<size_t>(ids.front()), ids.size());
    largest = Largest(of_ids);
    if (std::isfinite(largest)) return ids[static_cast<size_t>(FirstPlace(of_ids, largest))];
  }
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
    const int32_t token = Choose(logits, scratch);
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

int32_t Sampler::Choose(std::span<const float> logits, Scratch& scratch) {
  if (options_.temperature == 0) return BestToken(logits, ids());
  std::span<const float> of_ids;
  if (Consecutive(ids())) {
    of_ids = logits.subspan(static_cast<size_t>(ids().front()), ids().size());
  } else {
    scratch.logits.clear();
    for (const int32_t id : ids()) scratch.logits.push_back(logits[static_cast<size_t>(id)]);
    of_ids = scratch.logits;
  }
  const auto uniform = [&] { return static_cast<double>(generator_() >> 11) * 0x1p-53; };  // [0, 1)
  const bool top_k = options_.top_k > 0 && options_.top_k < std::ssize(ids());
  const float best = top_k ? KeepTopK(of_ids, scratch.candidates) : Largest(of_ids);
  if (!std::isfinite(best)) BestToken(logits, ids());  // says what is wrong with them
  if (top_k) {
    const double sum = SetExponentials(best, /*temperature=*/1, scratch.candidates);
    KeepTopP(options_.top_p * sum, options_.top_p * sum, scratch.candidates);
  } else if (options_.top_p < 1 || options_.min_p > 0) {
    KeepLikely(of_ids, best, scratch);
  } else {
    // Sums over all need no better exponentials than the kernels'.
    scratch.exponentials.Assign(of_ids, best, options_.temperature);
    return ids()[static_cast<size_t>(scratch.exponentials.PlaceOf(uniform()))];
  }
  KeepMinP(scratch.candidates);
  return Draw(best, uniform(), scratch.candidates);
}

// The candidates are then in descending order. Returns the largest logit; if that is not finite or
// one of them is NaN, a number that is not finite.
float Sampler::KeepTopK(std::span<const float> logits, std::vector<Candidate>& candidates) const {
  constexpr float kInfinite = std::numeric_limits<float>::infinity();
  constexpr size_t kBlock = 64;  // most blocks have none that is good enough
  const auto k = static_cast<size_t>(options_.top_k);
  candidates.clear();  // a heap with the worst on top; ids come in ascending order
  for (size_t begin = 0; begin < logits.size(); begin += kBlock) {
    const auto block = logits.subspan(begin, std::min(kBlock, logits.size() - begin));
    if (candidates.size() == k) {
      const float worst = candidates.front().logit;
      uint32_t better = 0;
      for (const float logit : block) better |= logit <= worst ? 0u : 1u;  // or NaN
      if (better == 0) continue;
    }
    for (size_t i = 0; i < block.size(); ++i) {
      if (block[i] == -kInfinite) continue;
      if (!std::isfinite(block[i])) return kInfinite;
      if (candidates.size() == k) {
        if (block[i] <= candidates.front().logit) continue;
        std::pop_heap(candidates.begin(), candidates.end(), Better);
        candidates.pop_back();
      }
      candidates.push_back({ids()[begin + i], block[i], 0});
      std::push_heap(candidates.begin(), candidates.end(), Better);
    }
  }
  std::sort_heap(candidates.begin(), candidates.end(), Better);
  return candidates.empty() ? -kInfinite : candidates.front().logit;
}

// Keeps of all what top-p keeps and min-p may keep. What that is for sure mostly shows already by
// approximate exponentials; if not, exact ones tell.
void Sampler::KeepLikely(std::span<const float> logits, float best, Scratch& scratch) const {
  std::vector<Candidate>& candidates = scratch.candidates;
  scratch.exponentials.Assign(logits, best, /*temperature=*/1);
  const std::span<const float> exponentials = scratch.exponentials.of_each();
  const double sum = scratch.exponentials.sum();
  // Tokens below (1 - p) / n have less than 1 - p together, so the fewest that have p are among the
  // others.
  const double top_p_floor = (1 - options_.top_p) * sum / static_cast<double>(logits.size());
  const double floor = std::max(top_p_floor, options_.min_p) * (1 - 4 * kExponentialError);
  candidates.clear();
  for (size_t i = 0; i < logits.size(); ++i) {
    if (double{exponentials[i]} >= floor && !std::isinf(logits[i])) {
      candidates.push_back({ids()[i], logits[i], 0});
    }
  }
  SetExponentials(best, /*temperature=*/1, candidates);
  const double error = 2 * kExponentialSumError;
  const double wanted = options_.top_p * sum;
  if (KeepTopP(wanted * (1 - error), wanted * (1 + error), candidates)) return;
  const double exact = options_.top_p * SumOfExponentials(logits, best);
  KeepTopP(exact, exact, candidates);
}

// Sorts the candidates, and keeps the fewest best whose exponentials have a sum of which is known
// that it lies between `least` and `most`. False if that does not tell how many they are.
bool Sampler::KeepTopP(double least, double most, std::vector<Candidate>& candidates) const {
  if (options_.top_p >= 1) return true;
  std::sort(candidates.begin(), candidates.end(), Better);
  double sum = 0;
  for (size_t i = 0; i < candidates.size(); ++i) {
    sum += candidates[i].probability;
    if (sum >= least) {
      if (sum < most) return false;
      candidates.resize(i + 1);
      break;
    }
  }
  return true;
}

void Sampler::KeepMinP(std::vector<Candidate>& candidates) const {
  if (options_.min_p == 0) return;
  // The exponential of the best one is 1.
  std::erase_if(candidates, [&](const Candidate& c) { return c.probability < options_.min_p; });
}

int32_t Sampler::Draw(float best, double uniform, std::vector<Candidate>& candidates) const {
  double rest = uniform * SetExponentials(best, options_.temperature, candidates);
  for (const Candidate& c : candidates) {
    rest -= c.probability;
    if (rest < 0) return c.id;
  }
  return candidates.back().id;  // rounding
}

// Gives each candidate its probability up to a factor, that of the best one being 1; returns their
// sum.
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
