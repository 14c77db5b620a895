// Picks the next token from logits.
#pragma once

#include <cstdint>
#include <random>
#include <span>
#include <vector>

#include "engine/softmax.h"

namespace fptq {

struct LogitBias {
  int32_t token = 0;
  double bias = 0;  // added to its logit, from -100 to 100
};

// Applied in this order: allowed tokens, logit bias, repeat penalty, presence and frequency
// penalty, top-k, top-p, min-p, temperature, draw. top-p and min-p look at the probabilities before
// temperature.
struct SamplerOptions {
  double temperature = 0.7;  // 0: greedy, the best token after the penalties
  int64_t top_k = 40;        // keep the k best; 0: all
  double top_p =
      0.95;          // keep the fewest best tokens that have this much of the probability; 1: all
  double min_p = 0;  // drop what is less probable than min_p times the best; 0: nothing
  double repeat_penalty =
      1;  // divides the positive logits of recent tokens, multiplies the negative ones; 1: none
  int64_t repeat_window = 64;    // how many of the last tokens, the prompt's too, are recent
  double presence_penalty = 0;   // taken from the logits of tokens that the answer has; -2 to 2
  double frequency_penalty = 0;  // as often as the answer has them; -2 to 2
  std::vector<LogitBias> logit_bias = {};
  std::vector<int32_t> allowed_tokens = {};  // no other is drawn; empty: all may be
  uint64_t seed = 0;
};

// Error naming the option that is out of its range. `ids`: as of the Sampler; an option that names
// another token is out of its range.
void Validate(const SamplerOptions& options, std::span<const int32_t> ids);

// The one of `ids` with the largest logit; of equal ones the first. Error if one of their logits is
// NaN, or the largest is not finite.
int32_t BestToken(std::span<const float> logits, std::span<const int32_t> ids);

// What a sequence has so far.
struct History {
  std::span<const int32_t> tokens;
  int64_t prompt = 0;  // how many of them are the prompt's; the others are the answer
};

// Reproducible: equal options and logits give equal tokens on every machine. Of equal logits the
// lowest id comes first.
class Sampler {
 public:
  // What a draw works with: 24 bytes for each token at most. Samplers that are not used at a time
  // may share it.
  class Scratch {
   public:
    Scratch() = default;

   private:
    friend class Sampler;
    struct Candidate {
      int32_t id;
      float logit;
      double probability;
    };
    struct Change {
      int32_t id;
      float logit;  // before
    };
    std::vector<Change> changes;
    std::vector<int32_t> tokens;
    std::vector<float> logits;          // of the ids, if they do not lie side by side
    FloatExponentials exponentials;     // of the ids' logits
    std::vector<Candidate> candidates;  // what is left
  };

  // `ids`: those that may be drawn, ascending (Tokenizer::ids()); they must outlive the sampler.
  // Error as Validate has it.
  Sampler(const SamplerOptions& options, std::span<const int32_t> ids);

  // The logits are changed meanwhile, and as they were afterwards. Error as BestToken has it.
  int32_t Sample(std::span<float> logits, const History& history, Scratch& scratch);

 private:
  using Candidate = Scratch::Candidate;

  static bool Better(const Candidate& a, const Candidate& b);
  std::span<const int32_t> ids() const;
  void Adjust(std::span<float> logits, const History& history, Scratch& scratch) const;
  int32_t Choose(std::span<const float> logits, Scratch& scratch);
  float KeepTopK(std::span<const float> logits, std::vector<Candidate>& candidates) const;
  void KeepLikely(std::span<const float> logits, float best, Scratch& scratch) const;
  bool KeepTopP(double least, double most, std::vector<Candidate>& candidates) const;
  void KeepMinP(std::vector<Candidate>& candidates) const;
  int32_t Draw(float best, double uniform, std::vector<Candidate>& candidates) const;
  static double SetExponentials(float best, double temperature, std::vector<Candidate>& candidates);

  SamplerOptions options_;
  std::span<const int32_t> ids_;
  std::mt19937_64 generator_;
};

}  // namespace fptq
