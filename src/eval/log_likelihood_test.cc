#include "eval/log_likelihood.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <vector>

#include "base/test_util.h"
#include "eval/perplexity.h"
#include "eval/testing.h"

namespace fptq {
namespace {

class TinyModelLogLikelihood : public ::testing::TestWithParam<const char*> {
 protected:
  // Pieces of the golden tokens: `context` of them and then `continuation` more, from `begin`.
  TokenizedRequest Request(size_t begin, int64_t context, int64_t continuation) const {
    const auto first = tokens_.begin() + static_cast<std::ptrdiff_t>(begin);
    return {.tokens = {first, first + context + continuation}, .context = context};
  }

  // Documents as they come: with a common context, with none, long and short ones.
  void MakeRequests() {
    const auto add = [&](TokenizedRequest request, int32_t change) {
      for (size_t i = static_cast<size_t>(request.context); i < request.tokens.size(); ++i) {
        request.tokens[i] = (request.tokens[i] + change) % 280;
      }
      requests_.push_back(std::move(request));
    };
    for (int32_t i = 0; i < 4; ++i) add(Request(0, 20, 5 + i), i);  // one question, four answers
    for (int32_t i = 0; i < 3; ++i) add(Request(7, 9, 1), i);       // answers of one token
    add(Request(0, 1, 2), 0);
    add(Request(0, 36, 6), 0);                                     // the first question goes on
    for (size_t i = 0; i < 2; ++i) add(Request(25 + i, 4, 6), 0);  // nothing in common
  }

  std::vector<LogLikelihood> Compute(const LogLikelihoodOptions& options, int threads) {
    ThreadPool pool(threads);
    return ComputeLogLikelihoods(*model_, requests_, options, pool, nullptr);
  }

  // From a forward pass over the request alone.
  LogLikelihood Alone(const TokenizedRequest& request) {
    std::vector<float> logits;
    const PerplexityOptions options = {.on_logits = [&](std::span<const float> rows) {
      logits.insert(logits.end(), rows.begin(), rows.end());
    }};
    MeasurePerplexity(*model_, request.tokens, {}, options, pool_, nullptr);
    const auto vocab = static_cast<size_t>(model_->config().vocab);
    LogLikelihood result{.greedy = true};
    for (auto i = static_cast<size_t>(request.context); i < request.tokens.size(); ++i) {
      const auto row = std::span(logits).subspan((i - 1) * vocab, vocab);
      result.sum -= NegativeLogLikelihood(row, request.tokens[i]);
      result.greedy &= std::ranges::max_element(row) - row.begin() == request.tokens[i];
      ++result.tokens;
    }
    return result;
  }

  ThreadPool pool_{1};
  std::shared_ptr<const Model> model_ = LoadModel(TinyPath(GetParam()), pool_);
  std::vector<int32_t> tokens_ = GoldenTokens();
  std::vector<TokenizedRequest> requests_;
};

// Bit for bit, however the requests are batched and whatever is left in the cache.
TEST_P(TinyModelLogLikelihood, IsThatOfTheRequestAlone) {
  MakeRequests();
  std::vector<LogLikelihood> expected;
  for (const TokenizedRequest& request : requests_) expected.push_back(Alone(request));
  for (const int64_t sequences : {0, 1, 2, 7}) {
    for (const int64_t rows : {1, 3, 64}) {
      const auto found = Compute({.batch_rows = rows, .sequences = sequences}, 1);
      ASSERT_EQ(found.size(), expected.size());
      for (size_t i = 0; i < found.size(); ++i) {
        EXPECT_EQ(found[i].sum, expected[i].sum) << i << " of " << sequences << " x " << rows;
        EXPECT_EQ(found[i].tokens, expected[i].tokens);
        EXPECT_EQ(found[i].greedy, expected[i].greedy);
      }
    }
  }
  const auto threads = Compute({}, 3);
  for (size_t i = 0; i < threads.size(); ++i) EXPECT_EQ(threads[i].sum, expected[i].sum);
}

TEST_P(TinyModelLogLikelihood, GreedyContinuationsAreGreedy) {
  requests_.push_back(Request(0, 10, 1));
  // Extended by the most likely token twice.
  for (int i = 0; i < 2; ++i) {
    for (int32_t token = 0;; ++token) {
      requests_[0].tokens.back() = token;
      if (Compute({}, 1)[0].greedy) break;
      ASSERT_LT(token, 280);
    }
    requests_[0].tokens.push_back(0);
  }
  requests_[0].tokens.pop_back();
  EXPECT_TRUE(Compute({}, 1)[0].greedy);
  requests_[0].tokens[10] = (requests_[0].tokens[10] + 1) % 280;
  EXPECT_FALSE(Compute({}, 1)[0].greedy);
}

TEST_P(TinyModelLogLikelihood, ReportsProgressToTheEnd) {
  MakeRequests();
  int64_t last = 0;
  ComputeLogLikelihoods(*model_, requests_, {.batch_rows = 8}, pool_,
                        [&](std::string_view, int64_t done, int64_t total) {
                          EXPECT_GE(done, last);
                          EXPECT_EQ(total, std::ssize(requests_));
                          last = done;
                        });
  EXPECT_EQ(last, std::ssize(requests_));
}

INSTANTIATE_TEST_SUITE_P(LogLikelihood, TinyModelLogLikelihood,
                         testing::Values("tiny-llama-f32", "tiny-llama-w4a8"));

class TokenizeTest : public ::testing::Test {
 protected:
  int32_t start_ = 1;
  ThreadPool pool_{1};
  std::shared_ptr<const Model> model_ = LoadModel(TinyPath("tiny-llama-f32"), pool_);
  std::vector<int32_t> Encode(std::string_view text) {
    return model_->tokenizer.Encode(text, {.parse_special = false, .add_prefix = false});
  }
  TokenizedRequest Run(const char* context, const char* continuation, int64_t max_tokens = 1000) {
    return Tokenize(model_->tokenizer, start_, {.context = context, .continuation = continuation},
                    max_tokens);
  }
};

TEST_F(TokenizeTest, EncodesTheWholeAndSplitsIt) {
  const TokenizedRequest request = Run("The river runs", " through three");
  EXPECT_EQ(request.tokens, Encode("The river runs through three"));
  EXPECT_EQ(request.context, std::ssize(Encode("The river runs")));
}

TEST_F(TokenizeTest, SpaceAtTheEndOfTheContextBelongsToTheContinuation) {
  const TokenizedRequest request = Run("The river \n", "runs");
  EXPECT_EQ(request.tokens, Encode("The river \nruns"));
  EXPECT_EQ(request.context, std::ssize(Encode("The river")));
}

TEST_F(TokenizeTest, KeepsTheEndOfWhatIsTooLong) {
  const auto whole = Encode("The river runs through three");
  const int64_t continuation = std::ssize(whole) - std::ssize(Encode("The river runs"));
  const TokenizedRequest request = Run("The river runs", " through three", continuation + 1);
  EXPECT_EQ(request.tokens, std::vector<int32_t>(whole.end() - continuation - 1, whole.end()));
  EXPECT_EQ(request.context, 1);
  EXPECT_ERROR("expected less than", Run("The river runs", " through three", continuation));
}

// "gh" is a token.
TEST_F(TokenizeTest, EncodesApartWhereATokenSpansTheBorder) {
  for (const char* continuation : {"h", "h three towns"}) {
    const TokenizedRequest request = Run("The river runs throug", continuation);
    std::vector<int32_t> expected = Encode("The river runs throug");
    EXPECT_EQ(request.context, std::ssize(expected));
    const std::vector<int32_t> rest = Encode(continuation);
    expected.insert(expected.end(), rest.begin(), rest.end());
    EXPECT_EQ(request.tokens, expected);
  }
}

TEST_F(TokenizeTest, AnEmptyContextIsTheStartToken) {
  std::vector<int32_t> expected = Encode("river");
  expected.insert(expected.begin(), 1);
  EXPECT_EQ(Run("", "river").tokens, expected);
  EXPECT_EQ(Run("", "river").context, 1);
  const TokenizedRequest blank = Run(" \u00a0", "river");
  EXPECT_EQ(blank.context, 1);
  EXPECT_EQ(std::vector<int32_t>(blank.tokens.begin() + 1, blank.tokens.end()),
            Encode(" \u00a0river"));
  start_ = -1;
  EXPECT_ERROR("no token to predict the continuation from", Run("", "river"));
}

TEST_F(TokenizeTest, ThePrefixComesFirst) {
  TokenizerFiles files = LoadTokenizerFiles(TinyPath("tiny-llama-f32"));
  files.tokenizer["post_processor"] =
      Json{{"type", "BertProcessing"}, {"cls", {"<|im_start|>", 1}}, {"sep", {"<|im_end|>", 2}}};
  const TokenizedRequest request =
      Tokenize(Tokenizer(files), /*start=*/0, {.context = "The", .continuation = " river"}, 100);
  std::vector<int32_t> expected = Encode("The river");
  EXPECT_EQ(request.context, 1 + std::ssize(Encode("The")));
  expected.insert(expected.begin(), 1);
  EXPECT_EQ(request.tokens, expected);
}

TEST_F(TokenizeTest, RefusesAnEmptyContinuation) {
  EXPECT_ERROR("the continuation has no token", Run("The river", ""));
  EXPECT_ERROR("the continuation has no token", Run("", ""));
  EXPECT_EQ(Run("The river ", "").tokens, Encode("The river "));  // a space is one
}

}  // namespace
}  // namespace fptq
