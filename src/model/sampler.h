// Picks the next token from logits.
#pragma once

#include <cstdint>
#include <random>
#include <span>
#include <vector>

namespace fptq {

// Applied in this order: repeat penalty, top-k, top-p, min-p, temperature, draw. top-p and min-p
// look at the probabilities before temperature.
struct SamplerOptions {
  double temperature = 0.7;  // 0: greedy, the best token after the penalty
  int64_t top_k = 40;        // keep the k best; 0: all
  double top_p =
      0.95;          // keep the fewest best tokens that have this much of the probability; 1: all
  double min_p = 0;  // drop what is less probable than min_p times the best; 0: nothing
  double repeat_penalty =
      1;  // divides the positive logits of recent tokens, multiplies the negative ones; 1: none
  int64_t repeat_window = 64;  // how many of the last tokens are recent
  uint64_t seed = 0;
};

// Error naming the option that is out of its range.
void Validate(const SamplerOptions& options);

// The one of `ids` with the largest logit; of equal ones the first. Error if one of their logits is
// NaN, or the largest is not finite.
int32_t BestToken(std::span<const float> logits, std::span<const int32_t> ids);

// Reproducible: equal options and logits give equal tokens on every machine. Of equal logits the
// lowest id comes first.
class Sampler {
 public:
  // `ids`: those that may be drawn, ascending (Tokenizer::ids()); they must outlive the sampler.
  Sampler(const SamplerOptions& options, std::span<const int32_t> ids);

  // `history`: the sequence so far, prompt included. Error as BestToken has it.
  int32_t Sample(std::span<const float> logits, std::span<const int32_t> history);

 private:
  struct Candidate {
    int32_t id;
    float logit;
    double probability;
  };

  static bool Better(const Candidate& a, const Candidate& b);
  void Penalize(std::span<const int32_t> history);
  void KeepTopK(float best);
  void KeepTopP();
  void KeepMinP();
  int32_t Draw(float best);

  SamplerOptions options_;
  std::span<const int32_t> ids_;
  std::mt19937_64 generator_;
  std::vector<float> logits_;          // [vocab], penalized
  std::vector<Candidate> candidates_;  // what is left
};

}  // namespace fptq
