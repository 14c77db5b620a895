#include "engine/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/math.h"
#include "kernels/dispatch.h"

namespace fptq {
namespace {

constexpr float kNegativeInfinity = -std::numeric_limits<float>::infinity();

SamplerOptions Plain() {
  return {.temperature = 1,
          .top_k = 0,
          .top_p = 1,
          .min_p = 0,
          .repeat_penalty = 1,
          .repeat_window = 64,
          .presence_penalty = 0,
          .frequency_penalty = 0,
          .logit_bias = {},
          .allowed_tokens = {},
          .seed = 1};
}

// Logits of the given probabilities.
std::vector<float> Logits(const std::vector<double>& probabilities) {
  std::vector<float> logits;
  for (const double p : probabilities) logits.push_back(static_cast<float>(std::log(p)));
  return logits;
}

// 0, 1, ..., count - 1.
std::vector<int32_t> Ids(size_t count) {
  std::vector<int32_t> ids(count);
  std::iota(ids.begin(), ids.end(), 0);
  return ids;
}

int32_t Sample(Sampler& sampler, std::vector<float> logits,
               const std::vector<int32_t>& history = {}) {
  Sampler::Scratch scratch;
  return sampler.Sample(logits, {.tokens = history, .prompt = 0}, scratch);
}

int32_t SampleOnce(const SamplerOptions& options, const std::vector<float>& logits,
                   const std::vector<int32_t>& history = {}) {
  const std::vector<int32_t> ids = Ids(logits.size());
  Sampler sampler(options, ids);
  return Sample(sampler, logits, history);
}

std::vector<double> Frequencies(const SamplerOptions& options, const std::vector<float>& logits,
                                const std::vector<int32_t>& history = {}) {
  constexpr int kDraws = 20000;
  const std::vector<int32_t> ids = Ids(logits.size());
  Sampler sampler(options, ids);
  std::vector<double> frequencies(logits.size());
  for (int i = 0; i < kDraws; ++i) {
    frequencies[static_cast<size_t>(Sample(sampler, logits, history))] += 1.0 / kDraws;
  }
  return frequencies;
}

// The standard deviation of a frequency is at most 0.5 / sqrt(20000) = 0.0035; four of them are
// allowed. What must not be drawn at all has a frequency of exactly 0.
void ExpectFrequencies(const std::vector<double>& actual, const std::vector<double>& expected) {
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < actual.size(); ++i) {
    if (expected[i] == 0) {
      EXPECT_EQ(actual[i], 0) << "token " << i;
    } else {
      EXPECT_NEAR(actual[i], expected[i], 0.014) << "token " << i;
    }
  }
}

TEST(Sampler, DrawsFromTheSoftmax) {
  ExpectFrequencies(Frequencies(Plain(), Logits({0.1, 0.2, 0.3, 0.4})), {0.1, 0.2, 0.3, 0.4});
}

TEST(Sampler, TemperatureRaisesProbabilitiesToItsInverse) {
  SamplerOptions options = Plain();
  options.temperature = 0.5;  // squares: 0.01, 0.04, 0.09, 0.16 of 0.30
  ExpectFrequencies(Frequencies(options, Logits({0.1, 0.2, 0.3, 0.4})),
                    {1 / 30.0, 4 / 30.0, 9 / 30.0, 16 / 30.0});
}

TEST(Sampler, TopKKeepsTheBest) {
  SamplerOptions options = Plain();
  options.top_k = 2;
  ExpectFrequencies(Frequencies(options, Logits({0.1, 0.4, 0.2, 0.3})), {0, 4 / 7.0, 0, 3 / 7.0});
}

TEST(Sampler, TopKPrefersTheLowestIdOfEqualLogits) {
  SamplerOptions options = Plain();
  options.top_k = 3;
  ExpectFrequencies(Frequencies(options, {0, 0, 1, 0, 0}),
                    {1 / (2 + M_E), 1 / (2 + M_E), M_E / (2 + M_E), 0, 0});
}

TEST(Sampler, TopPKeepsTheFewestThatReachIt) {
  SamplerOptions options = Plain();
  options.top_p = 0.65;
  ExpectFrequencies(Frequencies(options, Logits({0.1, 0.2, 0.3, 0.4})), {0, 0, 3 / 7.0, 4 / 7.0});
  options.top_p = 0.75;
  ExpectFrequencies(Frequencies(options, Logits({0.1, 0.2, 0.3, 0.4})),
                    {0, 2 / 9.0, 3 / 9.0, 4 / 9.0});
}

TEST(Sampler, TopPZeroIsGreedy) {
  SamplerOptions options = Plain();
  options.top_p = 0;
  ExpectFrequencies(Frequencies(options, {1, 3, 3, 2}), {0, 1, 0, 0});
}

// top-p sees what top-k has left: of {3/7, 4/7}, 0.5 is reached by the best alone.
TEST(Sampler, TopKComesBeforeTopP) {
  SamplerOptions options = Plain();
  options.top_k = 2;
  options.top_p = 0.5;
  ExpectFrequencies(Frequencies(options, Logits({0.1, 0.2, 0.3, 0.4})), {0, 0, 0, 1});
}

TEST(Sampler, MinPIsRelativeToTheBest) {
  SamplerOptions options = Plain();
  options.min_p = 0.6;  // 0.24 and more
  ExpectFrequencies(Frequencies(options, Logits({0.1, 0.2, 0.3, 0.4})), {0, 0, 3 / 7.0, 4 / 7.0});
}

// At temperature 10 the four are nearly equal, yet min-p drops by the probabilities before
// temperature.
TEST(Sampler, MinPComesBeforeTemperature) {
  SamplerOptions options = Plain();
  options.min_p = 0.6;
  options.temperature = 1e6;
  ExpectFrequencies(Frequencies(options, Logits({0.1, 0.2, 0.3, 0.4})), {0, 0, 0.5, 0.5});
}

TEST(Sampler, PenaltyDividesPositiveAndMultipliesNegativeLogitsOnce) {
  SamplerOptions options = Plain();
  options.repeat_penalty = 2;
  const std::vector<float> logits = {2, -1, 0.5f};
  const double a = std::exp(1.0), b = std::exp(-2.0), c = std::exp(0.5);
  ExpectFrequencies(Frequencies(options, logits, {0, 1, 0, 0}),
                    {a / (a + b + c), b / (a + b + c), c / (a + b + c)});
}

TEST(Sampler, PenaltyForgetsWhatIsOutsideTheWindow) {
  SamplerOptions options = Plain();
  options.temperature = 0;
  options.repeat_penalty = 10;
  options.repeat_window = 2;
  const std::vector<float> logits = {3, 2, 1};
  EXPECT_EQ(SampleOnce(options, logits, {0, 1, 2}), 0);
  EXPECT_EQ(SampleOnce(options, logits, {1, 2, 0}), 1);
}

// Counted in the answer alone: of the history {0, 1, 1, 2, 1}, the first two are the prompt.
TEST(Sampler, PresenceAndFrequencyPenaltiesAreOfTheAnswer) {
  const std::vector<int32_t> ids = Ids(4), history = {0, 1, 1, 2, 1};
  const auto logit_to_beat = [&](const SamplerOptions& options, int32_t token) {
    // Token 3 is drawn if its logit is above what the penalties leave of 1.
    for (int quarter = -16; quarter <= 16; ++quarter) {
      std::vector<float> logits(4, -100.0f);
      logits[static_cast<size_t>(token)] = 1;
      logits[3] = static_cast<float>(quarter) / 4 + 0.125f;
      Sampler sampler(options, ids);
      Sampler::Scratch scratch;
      if (sampler.Sample(logits, {history, /*prompt=*/2}, scratch) == 3) return quarter / 4.0;
    }
    return 100.0;
  };
  SamplerOptions options = Plain();
  options.temperature = 0;
  EXPECT_EQ(logit_to_beat(options, 1), 1);
  options.presence_penalty = 0.5;
  EXPECT_EQ(logit_to_beat(options, 0), 1);
  EXPECT_EQ(logit_to_beat(options, 1), 0.5);
  EXPECT_EQ(logit_to_beat(options, 2), 0.5);
  options.frequency_penalty = 0.25;
  EXPECT_EQ(logit_to_beat(options, 0), 1);
  EXPECT_EQ(logit_to_beat(options, 1), 0);  // 1 - 0.5 - 2 * 0.25
  EXPECT_EQ(logit_to_beat(options, 2), 0.25);
  options.frequency_penalty = -1;
  EXPECT_EQ(logit_to_beat(options, 1), 2.5);
  // The bias comes before the repeat penalty, and that before the others: (1 + 2) / 2 - 0.5 + 2.
  options.logit_bias = {{1, 2}};
  options.repeat_penalty = 2;
  EXPECT_EQ(logit_to_beat(options, 1), 3);
}

TEST(Sampler, BiasIsAddedToLogits) {
  SamplerOptions options = Plain();
  options.logit_bias = {{0, 1}, {2, -100}, {0, 1}};  // a token may come twice
  const double a = std::exp(2.0);
  ExpectFrequencies(Frequencies(options, {0, 0, 0}), {a / (a + 1), 1 / (a + 1), 0});
}

TEST(Sampler, DrawsAllowedTokensAlone) {
  for (const double temperature : {0.0, 1.0}) {
    for (const int64_t top_k : {0, 1, 2, 40}) {
      SamplerOptions options = Plain();
      options.temperature = temperature;
      options.top_k = top_k;
      options.allowed_tokens = {3, 1, 3};
      const std::vector<float> logits = {9, 0, std::nanf(""), 0, 9};
      const std::vector<double> frequencies = Frequencies(options, logits);
      EXPECT_EQ(frequencies[0] + frequencies[2] + frequencies[4], 0);
      EXPECT_GT(frequencies[1], 0);  // of equal logits the first
      EXPECT_EQ(frequencies[3] > 0, temperature > 0 && top_k != 1);
    }
  }
}

TEST(Sampler, LogitsAreAsTheyWere) {
  SamplerOptions options = Plain();
  options.repeat_penalty = 1.7;
  options.presence_penalty = 0.3;
  options.frequency_penalty = 0.1;
  options.logit_bias = {{0, 0.1}, {2, 3}, {0, 0.7}};
  const std::vector<int32_t> ids = Ids(4), history = {0, 2, 2, 3};
  std::vector<float> logits = {0.1f, 0.2f, -0.3f, 0.4f};
  const std::vector<float> before = logits;
  Sampler sampler(options, ids);
  Sampler::Scratch scratch;
  for (int i = 0; i < 10; ++i) {
    sampler.Sample(logits, {history, 0}, scratch);
    EXPECT_EQ(logits, before);
  }
  logits[1] = std::nanf("");
  EXPECT_THROW(sampler.Sample(logits, {history, 0}, scratch), Error);
  EXPECT_EQ(logits[0], before[0]);
  EXPECT_EQ(logits[2], before[2]);
}

// What one sampler leaves in the scratch is nothing to the next one.
TEST(Sampler, ScratchIsShared) {
  SamplerOptions options = Plain();
  const std::vector<int32_t> ids = Ids(50);
  std::vector<float> logits(50, 0.0f);
  Sampler a(options, ids), b(options, ids);
  options.top_k = 3;
  options.presence_penalty = 1;
  Sampler other(options, ids);
  Sampler::Scratch shared;
  for (int i = 0; i < 20; ++i) {
    Sampler::Scratch own;
    const int32_t expected = a.Sample(logits, {}, own);
    EXPECT_EQ(b.Sample(logits, {}, shared), expected);
    other.Sample(logits, {ids, 10}, shared);
  }
}

// By the definition, with exact exponentials of all tokens. A draw from all of them takes those of
// the kernels, in float: the oracle's here.
int32_t DrawByDefinition(const SamplerOptions& options, const std::vector<float>& logits,
                         double uniform) {
  const double largest = *std::max_element(logits.begin(), logits.end());
  std::vector<std::pair<int32_t, double>> tokens;  // with their exponentials
  double sum = 0;
  for (size_t i = 0; i < logits.size(); ++i) {
    tokens.emplace_back(static_cast<int32_t>(i), Exp(double{logits[i]} - largest));
    sum += tokens.back().second;
  }
  if (options.top_p < 1) {
    std::stable_sort(tokens.begin(), tokens.end(), [&](const auto& a, const auto& b) {
      return logits[static_cast<size_t>(a.first)] > logits[static_cast<size_t>(b.first)];
    });
    double kept = 0;
    size_t count = 0;
    while (kept < options.top_p * sum) kept += tokens[count++].second;
    tokens.resize(count);
  }
  if (options.top_p == 1 && options.min_p == 0) {
    std::vector<float> weights(logits.size()), block_sums(logits.size() / kSumBlock + 1);
    SupportedKernels().back().exponentials({.x = logits.data(),
                                            .n = std::ssize(logits),
                                            .offset = static_cast<float>(largest),
                                            .factor = static_cast<float>(1 / options.temperature),
                                            .out = weights.data(),
                                            .block_sums = block_sums.data()});
    const double wanted = uniform * std::accumulate(block_sums.begin(), block_sums.end(), 0.0);
    double before = 0;
    size_t block = 0;
    while (before + block_sums[block] <= wanted) before += block_sums[block++];
    size_t place = block * kSumBlock;
    while (before + weights[place] <= wanted) before += weights[place++];
    return static_cast<int32_t>(place);
  }
  std::erase_if(tokens, [&](const auto& token) { return token.second < options.min_p; });
  double weights = 0;
  const auto weight = [&](int32_t id) {
    return Exp((double{logits[static_cast<size_t>(id)]} - largest) / options.temperature);
  };
  for (const auto& token : tokens) weights += weight(token.first);
  double rest = uniform * weights;
  for (const auto& token : tokens) {
    rest -= weight(token.first);
    if (rest < 0) return token.first;
  }
  return tokens.back().first;
}

// Flat and steep distributions, so that of top-p approximate sums tell mostly, rarely or never.
TEST(Sampler, DrawsWhatExactSumsGive) {
  std::mt19937 random(1);
  for (const float width : {0.0f, 0.01f, 1.0f, 4.0f, 30.0f}) {
    std::normal_distribution<float> normal(0, width);
    std::vector<float> logits(3000);
    for (float& logit : logits) logit = normal(random);
    const std::vector<int32_t> ids = Ids(logits.size());
    for (const double temperature : {0.3, 1.0, 2.0}) {
      for (const auto& [top_p, min_p] :
           {std::pair{1.0, 0.0}, {0.9, 0.0}, {0.5, 0.01}, {1.0, 0.05}}) {
        SamplerOptions options = Plain();
        options.temperature = temperature;
        options.top_p = top_p;
        options.min_p = min_p;
        Sampler sampler(options, ids);
        Sampler::Scratch scratch;
        std::mt19937_64 generator(options.seed);
        for (int i = 0; i < 40; ++i) {
          const double uniform = static_cast<double>(generator() >> 11) * 0x1p-53;
          ASSERT_EQ(sampler.Sample(logits, {}, scratch), DrawByDefinition(options, logits, uniform))
              << width << " " << temperature << " " << top_p << " " << min_p;
        }
      }
    }
  }
}

TEST(Sampler, GreedyTakesTheLowestIdOfTheLargest) {
  SamplerOptions options = Plain();
  options.temperature = 0;
  EXPECT_EQ(SampleOnce(options, {1, 5, 5, 2}), 1);
  EXPECT_EQ(SampleOnce(options, {kNegativeInfinity, -5, -7}), 1);
}

TEST(Sampler, NeverDrawsMinusInfinity) {
  SamplerOptions options = Plain();
  options.top_k = 3;
  ExpectFrequencies(
      Frequencies(options, {kNegativeInfinity, 0, kNegativeInfinity, 0, kNegativeInfinity}),
      {0, 0.5, 0, 0.5, 0});
  options.top_k = 0;
  ExpectFrequencies(
      Frequencies(options, {kNegativeInfinity, 0, kNegativeInfinity, 0, kNegativeInfinity}),
      {0, 0.5, 0, 0.5, 0});
}

// Whatever their logits are: of a padded head they may be anything.
TEST(Sampler, NeverDrawsWhatIsNotAmongTheIds) {
  const std::vector<float> logits = {9, 0, NAN, 1, -kNegativeInfinity};
  const std::vector<int32_t> ids = {1, 3};
  EXPECT_EQ(BestToken(logits, ids), 3);
  for (const int64_t top_k : {0, 1, 2, 40}) {
    for (const double temperature : {0.0, 1.0, 50.0}) {
      SamplerOptions options = Plain();
      options.temperature = temperature;
      options.top_k = top_k;
      Sampler sampler(options, ids);
      for (int i = 0; i < 100; ++i) {
        const int32_t token = Sample(sampler, logits, {0, 4});
        EXPECT_TRUE(token == 1 || token == 3) << token;
      }
    }
  }
}

TEST(Sampler, EqualSeedsGiveEqualTokens) {
  const std::vector<float> logits(1000, 0.0f);
  const std::vector<int32_t> ids = Ids(1000);
  const auto draw = [&](uint64_t seed) {
    SamplerOptions options = Plain();
    options.seed = seed;
    Sampler sampler(options, ids);
    std::vector<int32_t> tokens;
    for (int i = 0; i < 20; ++i) tokens.push_back(Sample(sampler, logits));
    return tokens;
  };
  EXPECT_EQ(draw(7), draw(7));
  EXPECT_NE(draw(7), draw(8));
}

// The generator is specified by the C++ standard, so this draw is the same everywhere.
TEST(Sampler, DrawIsTheSameOnEveryMachine) {
  SamplerOptions options = Plain();
  options.seed = 5489;  // the first number is then 14514284786278117030, 0.7868 of 2^64
  EXPECT_EQ(SampleOnce(options, std::vector<float>(1000, 0.0f)), 786);
}

TEST(Sampler, RejectsLogitsThatAreNotNumbers) {
  const std::vector<int32_t> ids = Ids(200);
  for (const double temperature : {0.0, 1.0}) {
    for (const int64_t top_k : {0, 2}) {
      SamplerOptions options = Plain();
      options.temperature = temperature;
      options.top_k = top_k;
      Sampler sampler(options, ids);
      for (const size_t at : {0, 1, 70, 199}) {
        for (const float bad : {std::nanf(""), -kNegativeInfinity}) {
          std::vector<float> logits(200, 0.0f);
          logits[2] = logits[3] = 5;
          logits[at] = bad;
          EXPECT_THROW(Sample(sampler, logits), Error) << top_k << " " << at << " " << bad;
        }
      }
      EXPECT_THROW(Sample(sampler, std::vector<float>(200, kNegativeInfinity)), Error);
    }
  }
}

TEST(Sampler, RejectsOptionsOutOfRange) {
  const std::vector<int32_t> ids = Ids(10);
  const auto with = [](auto change) {
    SamplerOptions options = Plain();
    change(options);
    return options;
  };
  EXPECT_THROW(Validate(with([](auto& o) { o.temperature = -1; }), ids), Error);
  EXPECT_THROW(Validate(with([](auto& o) { o.temperature = NAN; }), ids), Error);
  EXPECT_THROW(Validate(with([](auto& o) { o.top_k = -1; }), ids), Error);
  EXPECT_THROW(Validate(with([](auto& o) { o.top_p = 1.5; }), ids), Error);
  EXPECT_THROW(Validate(with([](auto& o) { o.min_p = -0.1; }), ids), Error);
  EXPECT_THROW(Validate(with([](auto& o) { o.repeat_penalty = 0; }), ids), Error);
  EXPECT_THROW(Validate(with([](auto& o) { o.presence_penalty = 2.1; }), ids), Error);
  EXPECT_THROW(Validate(with([](auto& o) { o.frequency_penalty = -2.1; }), ids), Error);
  EXPECT_THROW(Validate(with([](auto& o) { o.logit_bias = {{3, 101}}; }), ids), Error);
  EXPECT_THROW(Validate(with([](auto& o) { o.logit_bias = {{3, NAN}}; }), ids), Error);
  EXPECT_THROW(Validate(with([](auto& o) { o.logit_bias = {{10, 1}}; }), ids), Error);
  EXPECT_THROW(Validate(with([](auto& o) { o.allowed_tokens = {-1}; }), ids), Error);
  EXPECT_NO_THROW(Validate(Plain(), ids));
}

}  // namespace
}  // namespace fptq
