#include "eval/embedding.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/test_paths.h"
#include "engine/runner.h"

namespace fptq {
namespace {

using Sequences = std::vector<std::vector<int32_t>>;

class EmbeddingTest : public testing::Test {
 protected:
  std::vector<std::vector<float>> Embed(const Sequences& sequences, EmbeddingOf which) {
    return EmbedSequences(*model_, sequences, which, pool_, {});
  }

  ThreadPool pool_{2};
  std::shared_ptr<const Model> model_ =
      LoadModel(std::string(kTestdata) + "/models/tiny-llama-w4a8", pool_);
};

// Some share a step, of one page or several; the last takes more than one.
Sequences Mixed() {
  Sequences sequences = {{5, 6, 7}, {9}, std::vector<int32_t>(70, 11), {}};
  for (int32_t i = 0; i < 250; ++i) sequences.back().push_back(20 + i % 50);
  return sequences;
}

TEST_F(EmbeddingTest, DoesNotDependOnTheOthers) {
  for (const EmbeddingOf which : {EmbeddingOf::kMean, EmbeddingOf::kLastToken}) {
    const Sequences sequences = Mixed();
    const auto together = Embed(sequences, which);
    for (size_t i = 0; i < sequences.size(); ++i) {
      EXPECT_EQ(Embed({sequences[i]}, which)[0], together[i]) << i;
      EXPECT_EQ(std::ssize(together[i]), model_->config().hidden);
    }
  }
}

// The head applied to the vector of the last token gives its logits.
TEST_F(EmbeddingTest, LastTokenIsWhatTheHeadReads) {
  const std::vector<int32_t> tokens = {5, 6, 7, 8};
  const auto vector = Embed({tokens}, EmbeddingOf::kLastToken)[0];
  Runner runner(*model_, {.positions = 4, .rows = 4}, pool_);
  const auto logits = runner.Run(
      {.chunks = {{.pages = runner.Table(0), .first_position = 0, .tokens = tokens, .logits = 1}}});
  std::vector<float> rotated = vector, expected(logits.size());
  if (model_->head.act.rotated) {
    Kernels().rotate({.x = rotated.data(), .rows = 1, .n = model_->config().hidden});
  }
  LinearInput input(1, model_->config().hidden);
  input.Set(model_->head, 0, rotated.data());
  Apply(model_->head, input, 1, pool_, expected.data(), /*accumulate=*/false);
  EXPECT_EQ(expected, std::vector<float>(logits.begin(), logits.end()));
}

TEST_F(EmbeddingTest, MeanOfOneTokenIsThatToken) {
  EXPECT_EQ(Embed({{5}}, EmbeddingOf::kMean), Embed({{5}}, EmbeddingOf::kLastToken));
  EXPECT_NE(Embed({{5, 6}}, EmbeddingOf::kMean), Embed({{5, 6}}, EmbeddingOf::kLastToken));
}

TEST_F(EmbeddingTest, RefusesWhatTheModelCannotRead) {
  EXPECT_THROW(Embed({{5}, {}}, EmbeddingOf::kMean), Error);
  EXPECT_THROW(Embed({{1'000'000}}, EmbeddingOf::kMean), Error);
  const auto length = static_cast<size_t>(model_->config().max_positions + 1);
  EXPECT_THROW(Embed({std::vector<int32_t>(length, 5)}, EmbeddingOf::kMean), Error);
}

}  // namespace
}  // namespace fptq
