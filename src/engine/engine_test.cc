#include "engine/engine.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <string>
#include <vector>

#include "base/test_paths.h"
#include "base/test_util.h"
#include "base/utf8.h"

namespace fptq {
namespace {

std::shared_ptr<const Model> Tiny(ThreadPool& pool, std::string_view name = "tiny-llama-w4a8") {
  return LoadModel(std::filesystem::path(kTestdata) / "models" / name, pool);
}

std::vector<int32_t> Prompt(int64_t n) {
  std::vector<int32_t> tokens;
  for (int64_t i = 0; i < n; ++i) tokens.push_back(static_cast<int32_t>(3 + (i * i * 7 + i) % 280));
  return tokens;
}

GenerateOptions Greedy(int64_t max_tokens) {
  GenerateOptions options;
  options.sampling.temperature = 0;
  options.max_tokens = max_tokens;
  return options;
}

Generation Generate(Engine& engine, std::span<const int32_t> prompt,
                    const GenerateOptions& options) {
  return engine.Generate(prompt, options, [](std::string_view) {});
}

TEST(Engine, ReusingTheCacheChangesNothing) {
  ThreadPool pool(2);
  for (const char* name : {"tiny-llama-f32", "tiny-llama-w4a8"}) {
    const auto model = Tiny(pool, name);
    const std::vector<int32_t> prompt = Prompt(40);
    Engine fresh(model, pool, 128);
    const Generation expected = Generate(fresh, prompt, Greedy(20));

    Engine engine(model, pool, 128);
    Generate(engine, std::span(prompt).first(17), Greedy(9));  // 16 or 17 of them are reused
    const Generation longer = Generate(engine, prompt, Greedy(20));
    EXPECT_EQ(longer.tokens, expected.tokens) << name;
    EXPECT_LE(longer.timings.prompt_tokens, 24) << name;

    const Generation same = Generate(engine, prompt, Greedy(20));
    EXPECT_EQ(same.tokens, expected.tokens) << name;
    EXPECT_EQ(same.timings.prompt_tokens, 1) << name;  // for its logits

    std::vector<int32_t> other = prompt;
    other[5] = other[5] == 100 ? 101 : 100;
    EXPECT_EQ(Generate(engine, other, Greedy(20)).timings.prompt_tokens, 35) << name;
    EXPECT_EQ(Generate(engine, prompt, Greedy(20)).tokens, expected.tokens) << name;
  }
}

// 1,100 rows are three chunks; the second engine splits them elsewhere.
TEST(Engine, ChunksOfThePromptChangeNothing) {
  ThreadPool pool(2);
  const auto model = Tiny(pool);
  const std::vector<int32_t> prompt = Prompt(1100);
  Engine whole(model, pool, 1200);
  Engine split(model, pool, 1200);
  Generate(split, std::span(prompt).first(700), Greedy(0));
  EXPECT_EQ(Generate(split, prompt, Greedy(16)).tokens, Generate(whole, prompt, Greedy(16)).tokens);
}

TEST(Engine, CountsTokensAndStopsAtTheMost) {
  ThreadPool pool(1);
  Engine engine(Tiny(pool), pool, 128);
  const Generation answer = Generate(engine, Prompt(10), Greedy(5));
  EXPECT_EQ(answer.stop, FinishReason::kMaxTokens);
  EXPECT_EQ(answer.tokens.size(), 5u);
  EXPECT_EQ(answer.timings.prompt_tokens, 10);
  EXPECT_EQ(answer.timings.decode_tokens, 4);
  EXPECT_GT(answer.timings.prompt_rate(), 0);
  EXPECT_GT(answer.timings.decode_rate(), 0);
  EXPECT_TRUE(Generate(engine, Prompt(10), Greedy(0)).tokens.empty());
}

TEST(Engine, StopsBeforeAStopToken) {
  ThreadPool pool(1);
  Engine engine(Tiny(pool), pool, 128);
  const std::vector<int32_t> tokens = Generate(engine, Prompt(10), Greedy(5)).tokens;
  ASSERT_EQ(tokens.size(), 5u);
  GenerateOptions options = Greedy(5);
  options.stop_tokens = {tokens[3]};
  const Generation answer = Generate(engine, Prompt(10), options);
  EXPECT_EQ(answer.stop, FinishReason::kStopToken);
  const auto first = std::find(tokens.begin(), tokens.end(), tokens[3]);
  EXPECT_EQ(answer.tokens, std::vector<int32_t>(tokens.begin(), first));
}

TEST(Engine, StopsWhereTheContextEnds) {
  ThreadPool pool(1);
  Engine engine(Tiny(pool), pool, 24);
  const Generation answer = Generate(engine, Prompt(20), Greedy(100));
  EXPECT_EQ(answer.stop, FinishReason::kContextFull);
  EXPECT_EQ(answer.tokens.size(), 4u);
  const Generation full = Generate(engine, Prompt(24), Greedy(100));
  EXPECT_EQ(full.stop, FinishReason::kContextFull);
  EXPECT_TRUE(full.tokens.empty());
  EXPECT_EQ(Generate(engine, Prompt(20), Greedy(4)).stop, FinishReason::kMaxTokens);
}

TEST(Engine, RefusesPromptsThatItCannotTake) {
  ThreadPool pool(1);
  Engine engine(Tiny(pool), pool, 24);
  EXPECT_ERROR("25 tokens, the context has room for 24", Generate(engine, Prompt(25), Greedy(1)));
  EXPECT_ERROR("empty", Generate(engine, {}, Greedy(1)));
  EXPECT_ERROR("100000", Generate(engine, std::vector<int32_t>{100000}, Greedy(1)));
}

TEST(Engine, CancelStopsAtTheNextStep) {
  ThreadPool pool(1);
  Engine engine(Tiny(pool), pool, 128);
  std::atomic<bool> cancel = false;
  GenerateOptions options = Greedy(50);
  options.cancel = &cancel;
  int pieces = 0;
  const Generation answer =
      engine.Generate(Prompt(10), options, [&](std::string_view) { cancel = ++pieces == 3; });
  EXPECT_EQ(answer.stop, FinishReason::kCancelled);
  EXPECT_LT(answer.tokens.size(), 50u);
  EXPECT_FALSE(answer.tokens.empty());

  EXPECT_EQ(Generate(engine, Prompt(12), options).stop,
            FinishReason::kCancelled);  // before the prompt
  cancel = false;
  Engine fresh(Tiny(pool), pool, 128);
  EXPECT_EQ(Generate(engine, Prompt(12), options).tokens,
            Generate(fresh, Prompt(12), options).tokens);
}

// At temperature 100 the tiny model draws nearly evenly from the bytes, mostly ill-formed as UTF-8.
TEST(Engine, StreamsWholeCharacters) {
  ThreadPool pool(1);
  Engine engine(Tiny(pool), pool, 256);
  GenerateOptions options = Greedy(200);
  options.sampling = {.temperature = 100, .top_k = 0, .top_p = 1, .seed = 1};
  std::string streamed;
  const Generation answer = engine.Generate(Prompt(5), options, [&](std::string_view piece) {
    EXPECT_EQ(piece, ReplaceIllFormedUtf8(piece));
    EXPECT_FALSE(piece.empty());
    streamed += piece;
  });
  EXPECT_EQ(streamed, answer.text);
  EXPECT_NE(answer.text.find("\xEF\xBF\xBD"), std::string::npos);
}

}  // namespace
}  // namespace fptq
