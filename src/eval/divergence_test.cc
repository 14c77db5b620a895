#include "eval/divergence.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "base/test_util.h"
#include "eval/testing.h"

namespace fptq {
namespace {

std::vector<float> Logs(const std::vector<double>& probabilities, double shift) {
  std::vector<float> logits;
  for (const double p : probabilities) logits.push_back(static_cast<float>(std::log(p) + shift));
  return logits;
}

constexpr int32_t kIds[] = {0, 1, 2};

TEST(CompareLogits, ByHand) {
  const TokenDivergence token =
      CompareLogits(Logs({0.25, 0.25, 0.5}, 7), Logs({0.5, 0.25, 0.25}, -2), kIds, 2);
  // The logits are floats: 1e-7 relative, times logits of up to about 10.
  EXPECT_NEAR(token.nll, std::log(2.0), 1e-6);
  EXPECT_NEAR(token.reference_nll, std::log(4.0), 1e-6);
  // 0.5 log(0.5 / 0.25) + 0 + 0.25 log(0.25 / 0.5)
  EXPECT_NEAR(token.kl, 0.25 * std::log(2.0), 1e-6);
  EXPECT_FALSE(token.same_top1);
  const auto same_top1 = [](std::span<const int32_t> ids) {
    return CompareLogits(Logs({0.3, 0.2, 0.5}, 0), Logs({0.8, 0.1, 0.1}, 0), ids, 0).same_top1;
  };
  EXPECT_FALSE(same_top1(kIds));
  EXPECT_TRUE(same_top1(std::span(kIds).first(2)));  // 2 is no token
}

TEST(CompareLogits, IsZeroForEqualLogitsAndNeverNegative) {
  const std::vector<float> logits = Logs({0.1, 0.7, 0.2}, 3);
  EXPECT_EQ(CompareLogits(logits, logits, kIds, 0).kl, 0);
  EXPECT_TRUE(CompareLogits(logits, logits, kIds, 0).same_top1);
  // A shift changes no probability.
  const TokenDivergence shifted = CompareLogits({{1, 2, 4}}, {{101, 102, 104}}, kIds, 1);
  EXPECT_EQ(shifted.kl, 0);
  EXPECT_EQ(shifted.nll, shifted.reference_nll);
}

TEST(CompareLogits, RejectsWhatIsNotFinite) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const std::vector<float> good = {0, 1}, nan = {0, NAN}, infinite = {0, -kInfinity};
  const std::span<const int32_t> ids = std::span(kIds).first(2);
  EXPECT_ERROR("token 0", CompareLogits(nan, good, ids, 0));
  EXPECT_ERROR("token 0", CompareLogits(good, nan, ids, 0));
  EXPECT_ERROR("token 0", CompareLogits(infinite, good, ids, 0));
}

class TinyModelDivergence : public ::testing::Test {
 protected:
  Divergence Measure(const Model& model, const Model& reference, DivergenceOptions options,
                     int threads = 2) {
    ThreadPool pool(threads);
    return MeasureDivergence(model, reference, tokens_, {}, options, pool, nullptr);
  }

  ThreadPool pool_{1};
  std::shared_ptr<const Model> float_ = LoadModel(TinyPath("tiny-llama-f32"), pool_);
  std::shared_ptr<const Model> quantized_ = LoadModel(TinyPath("tiny-llama-w4a8"), pool_);
  std::vector<int32_t> tokens_ = GoldenTokens();
};

TEST_F(TinyModelDivergence, OfAModelFromItselfIsZero) {
  for (const Model* model : {float_.get(), quantized_.get()}) {
    const Divergence d = Measure(*model, *model, {.context = 20});
    EXPECT_EQ(d.kl.mean, 0);
    EXPECT_EQ(d.kl.standard_error, 0);
    EXPECT_EQ(d.kl_max, 0);
    EXPECT_EQ(d.top1.mean, 1);
    EXPECT_EQ(d.nll_difference.mean, 0);
    EXPECT_EQ(d.ratio.mean, 1);
    EXPECT_EQ(d.ratio.standard_error, 0);
  }
}

std::vector<float> LogitsOf(const Model& model, std::span<const int32_t> tokens, ThreadPool& pool) {
  std::vector<float> logits;
  const PerplexityOptions options = {.on_logits = [&](std::span<const float> rows) {
    logits.insert(logits.end(), rows.begin(), rows.end());
  }};
  MeasurePerplexity(model, tokens, {}, options, pool, nullptr);
  return logits;
}

std::vector<long double> Softmax(std::span<const float> logits) {
  std::vector<long double> p;
  long double sum = 0;
  for (const float logit : logits) sum += p.emplace_back(std::exp(static_cast<long double>(logit)));
  for (long double& x : p) x /= sum;
  return p;
}

// From all logits at once, by the definitions and in long double.
TEST_F(TinyModelDivergence, AgreesWithTheDefinition) {
  const Divergence d = Measure(*quantized_, *float_, {});
  const auto q_logits = LogitsOf(*quantized_, tokens_, pool_);
  const auto p_logits = LogitsOf(*float_, tokens_, pool_);
  const auto vocab = static_cast<size_t>(float_->config().vocab);
  const size_t count = tokens_.size() - 1;
  std::vector<double> kls;
  long double kl_sum = 0, nll_sum = 0;
  int same = 0;
  for (size_t i = 0; i < count; ++i) {
    const auto q = Softmax(std::span(q_logits).subspan(i * vocab, vocab));
    const auto p = Softmax(std::span(p_logits).subspan(i * vocab, vocab));
    long double kl = 0;
    for (size_t t = 0; t < vocab; ++t) kl += p[t] * std::log(p[t] / q[t]);
    kl_sum += kl;
    kls.push_back(static_cast<double>(kl));
    const auto target = static_cast<size_t>(tokens_[i + 1]);
    nll_sum += std::log(p[target]) - std::log(q[target]);
    same += std::ranges::max_element(p) - p.begin() == std::ranges::max_element(q) - q.begin();
  }
  const auto n = static_cast<double>(count);
  // Both in double or better, from the same floats.
  EXPECT_NEAR(d.kl.mean, static_cast<double>(kl_sum) / n, 1e-12);
  EXPECT_NEAR(d.nll_difference.mean, static_cast<double>(nll_sum) / n, 1e-12);
  EXPECT_NEAR(d.ratio.mean, std::exp(static_cast<double>(nll_sum) / n), 1e-12);
  EXPECT_DOUBLE_EQ(d.top1.mean, same / n);
  EXPECT_NEAR(d.kl_max, *std::ranges::max_element(kls), 1e-12);
  EXPECT_GT(d.kl.mean, 1e-4) << "quantization moves predictions";
  EXPECT_TRUE(d.kl_median <= d.kl_p90 && d.kl_p90 <= d.kl_p99 && d.kl_p99 <= d.kl_max);
}

TEST_F(TinyModelDivergence, PerplexitiesAreThoseOfEachModelAlone) {
  const Divergence d = Measure(*quantized_, *float_, {.context = 16});
  const PerplexityOptions options = {.context = 16};
  const auto alone = [&](const Model& model) {
    return MeasurePerplexity(model, tokens_, {}, options, pool_, nullptr);
  };
  // The same sums in another order of terms.
  EXPECT_DOUBLE_EQ(d.model.perplexity, alone(*quantized_).perplexity);
  EXPECT_DOUBLE_EQ(d.reference.perplexity, alone(*float_).perplexity);
  EXPECT_NEAR(d.ratio.mean, d.model.perplexity / d.reference.perplexity, 1e-12);
  EXPECT_EQ(d.model.windows, (std::ssize(tokens_) + 15) / 16);
}

TEST_F(TinyModelDivergence, DoesNotDependOnThreads) {
  const Divergence one = Measure(*quantized_, *float_, {.context = 32}, 1);
  const Divergence three = Measure(*quantized_, *float_, {.context = 32}, 3);
  EXPECT_EQ(one.kl.mean, three.kl.mean);
  EXPECT_EQ(one.kl.standard_error, three.kl.standard_error);
  EXPECT_EQ(one.nll_difference.standard_error, three.nll_difference.standard_error);
}

TEST_F(TinyModelDivergence, OfTheInt8KvCacheAlone) {
  const Divergence d =
      Measure(*quantized_, *quantized_, {.context = 64, .reference_kv_type = KvType::kF32});
  EXPECT_GT(d.kl.mean, 0);
  EXPECT_LT(d.kl.mean, Measure(*quantized_, *float_, {.context = 64}).kl.mean);
}

}  // namespace
}  // namespace fptq
