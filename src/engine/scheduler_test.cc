#include "engine/scheduler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <random>
#include <set>

#include "engine/log_probability.h"
#include "engine/testing.h"

namespace fptq {
namespace {

int64_t PageBytes(const Model& model) {
  return KvCache::PageBytes(model.config(), model.kv_type(), model.config().layers);
}

void ExpectAllFree(const Driver& driver) {
  const SchedulerStatistics statistics = driver.scheduler().statistics();
  EXPECT_EQ(statistics.free_pages, statistics.pages);
  EXPECT_EQ(statistics.waiting, 0);
  EXPECT_EQ(statistics.running, 0);
  EXPECT_EQ(driver.scheduler().unstarted(), 0);
}

// Requests of all kinds; half of the prompts begin alike.
Request RandomRequest(std::mt19937& random) {
  const auto upto = [&](uint32_t n) { return static_cast<int32_t>(random() % n); };
  Request request =
      DrawnRequest(TestPrompt(1 + upto(100), upto(2) * upto(100)), upto(1000), upto(100));
  request.sampling.temperature = 50 * upto(3);  // mostly ill-formed UTF-8 but for the first
  request.log_probabilities = upto(2) == 0;
  request.prompt_log_probabilities = upto(4) == 0;
  if (upto(4) == 0) request.sampling.repeat_penalty = 1.3;
  if (upto(4) == 0) request.sampling.presence_penalty = 0.5;
  if (upto(4) == 0) request.stop_strings = {"e"};
  return request;
}

// Of two pages when it begins and of four when it ends.
Request Probe() {
  Request request = DrawnRequest(TestPrompt(70), 7, 130);
  request.prompt_log_probabilities = true;
  request.ignore_eos = true;
  return request;
}

constexpr int64_t kProbeContext = 256;  // four pages

// The same request, again and again, each time with some others and at a random step.
SchedulerStatistics ExpectSameUnderLoad(const Model& model, ThreadPool& pool,
                                        const SchedulerOptions& options, const Answer& expected,
                                        int others_each) {
  std::mt19937 random(1);
  Driver driver(model, options, pool);
  std::deque<Collector> probes, others;
  std::vector<uint64_t> ids;
  for (int i = 0; i < 17; ++i) {
    driver.Add(Probe(), probes.emplace_back());
    for (int j = 0; j < others_each; ++j) {
      ids.push_back(driver.Add(RandomRequest(random), others.emplace_back()));
    }
    const auto steps = random() % 40;
    for (size_t step = 0; step < steps; ++step) driver.scheduler().Step();
    if (!ids.empty() && random() % 2 == 0) driver.scheduler().Cancel(ids[random() % ids.size()]);
  }
  driver.Finish();
  for (const Collector& probe : probes) EXPECT_TRUE(probe.answer() == expected);
  for (const Collector& other : others) EXPECT_TRUE(other.over() && other.sink_gone());
  ExpectAllFree(driver);
  return driver.scheduler().statistics();
}

TEST(Scheduler, AnswersDependOnTheirRequestsAlone) {
  ThreadPool pool(2);
  for (const char* name : {"tiny-llama-w4a8", "tiny-llama-f32", "tiny-mistral"}) {
    const auto model = TinyModel(pool, name);
    const Answer expected = Alone(*model, pool, Probe(), kProbeContext);
    EXPECT_EQ(expected.tokens.size(), 130u);
    EXPECT_EQ(expected.prompt_scores.size(), 70u);
    for (const bool cache : {false, true}) {
      const auto run = [&](int64_t sequences, int64_t pages, int64_t rows, int others_each) {
        return ExpectSameUnderLoad(*model, pool,
                                   {.context = kProbeContext,
                                    .max_sequences = sequences,
                                    .kv_bytes = pages * PageBytes(*model),
                                    .batch_rows = rows,
                                    .prefix_cache = cache},
                                   expected, others_each);
      };
      const SchedulerStatistics all = run(/*sequences=*/33, /*pages=*/200, /*rows=*/512, 5);
      EXPECT_EQ(all.preemptions, 0);
      EXPECT_EQ(all.cached_tokens > 0, cache);
      // Room for one, so that pages are evicted all the time; and chunks of odd sizes.
      run(/*sequences=*/8, /*pages=*/4, /*rows=*/23, 2);
      // Two begin, and have no room to end, unless equal pages are kept once.
      // or are given back behind a window.
      const bool windowed = model->config().LongestWindow() > 0;
      EXPECT_EQ(run(/*sequences=*/33, /*pages=*/6, /*rows=*/64, 0).preemptions > 0,
                !cache && !windowed);
    }
  }
}

// Alone, and among 32 others at any time.
TEST(Scheduler, AHundredEqualRequestsHaveEqualAnswers) {
  ThreadPool pool(2);
  const auto model = TinyModel(pool);
  Request request = DrawnRequest(TestPrompt(100), 7, 30);
  request.ignore_eos = true;
  const Answer expected = Alone(*model, pool, request, kProbeContext);
  ASSERT_EQ(expected.scores.size(), 30u);
  struct Setting {
    const char* name;
    bool cache;
    int64_t sequences, pages;
    int64_t others, at_once;
  };
  // Eight sequences of a whole context have room in 32 pages, which leaves none to keep the others'
  // prefixes for long. Of 40 that fill their contexts, some begin in 40 pages, and few end.
  for (const Setting& setting : {Setting{"alone", true, 1, 160, 0, 1},
                                 {"the cache on", true, 40, 160, 32, 8},
                                 {"the cache off", false, 40, 160, 32, 8},
                                 {"a cache that evicts", true, 8, 32, 32, 4},
                                 {"too few pages", true, 40, 40, 32, 8}}) {
    const bool too_few = setting.pages == setting.sequences;
    std::mt19937 random(1);
    Driver driver(*model,
                  {.context = kProbeContext,
                   .max_sequences = setting.sequences,
                   .kv_bytes = setting.pages * PageBytes(*model),
                   .batch_rows = 128,
                   .prefix_cache = setting.cache},
                  pool);
    std::deque<Collector> answers, others;
    const auto left = [](const std::deque<Collector>& of) {
      return std::ranges::count_if(of, [](const Collector& one) { return !one.over(); });
    };
    do {
      while (left(others) < setting.others) {
        Request other = RandomRequest(random);
        if (too_few) other.max_tokens = kProbeContext;
        other.ignore_eos = too_few;
        driver.Add(other, others.emplace_back());
      }
      while (left(answers) < setting.at_once && answers.size() < 100) {
        driver.Add(request, answers.emplace_back());
      }
      driver.scheduler().Step();
    } while (answers.size() < 100 || left(answers) > 0);
    for (const Collector& answer : answers)
      EXPECT_TRUE(answer.answer() == expected) << setting.name;
    const SchedulerStatistics statistics = driver.scheduler().statistics();
    EXPECT_EQ(statistics.cached_tokens > 0, setting.cache) << setting.name;
    EXPECT_EQ(statistics.preemptions > 0, too_few) << setting.name;
    driver.Finish();
    ExpectAllFree(driver);
  }
}

TEST(Scheduler, PagesBehindAWindowAreGivenBack) {
  ThreadPool pool(2);
  const auto model = TinyModel(pool, "tiny-mistral");
  const int64_t window = model->config().LongestWindow();
  ASSERT_EQ(window, 12);
  Request request = DrawnRequest(TestPrompt(200), /*seed=*/3, /*max_tokens=*/50);
  request.prompt_log_probabilities = true;
  // All rows of the prompt in one step, so that none of them can miss what was given back.
  Driver whole(*model, {.context = 256, .max_sequences = 1, .batch_rows = 256, .scored_rows = 256},
               pool);
  Collector expected;
  whole.Add(request, expected);
  whole.Finish();
  for (const bool cache : {false, true}) {
    Driver driver(*model,
                  {.context = 256,
                   .max_sequences = 1,
                   .kv_bytes = 4 * PageBytes(*model),
                   .batch_rows = 19,
                   .prefix_cache = cache},
                  pool);
    Collector answer;
    driver.Add(request, answer);
    int64_t free = 0;
    while (driver.scheduler().Step() && !answer.over()) {
      free = driver.scheduler().statistics().free_pages;
    }
    EXPECT_EQ(free, 2);  // of the four; the window of the first token drawn reaches into the third
    EXPECT_TRUE(answer.answer() == expected.answer());
    ExpectAllFree(driver);
  }
}

TEST(Scheduler, TheYoungestLosesItsPagesAndNothingElse) {
  ThreadPool pool(2);
  const auto model = TinyModel(pool);
  Request requests[3];
  for (int32_t i = 0; i < 3; ++i) {
    requests[i] = DrawnRequest(TestPrompt(60, i), i, 190);
    requests[i].ignore_eos = true;
    requests[i].sampling.frequency_penalty = 0.2;
  }
  for (const bool cache : {false, true}) {
    Driver driver(
        *model,
        {.context = kProbeContext, .kv_bytes = 6 * PageBytes(*model), .prefix_cache = cache}, pool);
    Collector answers[3];
    for (size_t i = 0; i < 3; ++i) driver.Add(requests[i], answers[i]);
    while (!answers[0].over()) driver.scheduler().Step();
    EXPECT_EQ(answers[0].answer().tokens.size(), 190u);
    EXPECT_LT(answers[2].answer().tokens.size(), 190u);
    EXPECT_GT(answers[2].answer().tokens.size(), 0u);
    driver.Finish();
    EXPECT_GT(driver.scheduler().statistics().preemptions, 0);
    for (size_t i = 0; i < 3; ++i) {
      EXPECT_TRUE(answers[i].answer() == Alone(*model, pool, requests[i], kProbeContext)) << i;
    }
    ExpectAllFree(driver);
  }
}

// The first of three equal prompts is computed, the others wait for it and share.
TEST(Scheduler, EqualPromptsAreComputedOnce) {
  ThreadPool pool(1);
  const auto model = TinyModel(pool);
  Driver driver(*model, {.context = 256, .max_sequences = 8}, pool);
  Collector answers[3];
  for (Collector& answer : answers) driver.Add(DrawnRequest(TestPrompt(200), 1, 5), answer);
  driver.Finish();
  const SchedulerStatistics statistics = driver.scheduler().statistics();
  EXPECT_EQ(statistics.prompt_tokens, 200 + 1 + 1);
  EXPECT_EQ(statistics.cached_tokens, 199 + 199);
  EXPECT_EQ(statistics.completion_tokens, 15);
  EXPECT_EQ(answers[0].answer().finish.cached_tokens, 0);
  EXPECT_EQ(answers[1].answer().finish.cached_tokens, 199);
  EXPECT_TRUE(answers[1].answer() == answers[0].answer());
  EXPECT_TRUE(answers[2].answer() == answers[0].answer());
}

TEST(Scheduler, PromptLogProbabilitiesDoNotComeFromTheCache) {
  ThreadPool pool(1);
  const auto model = TinyModel(pool);
  Driver driver(*model, {.context = 256}, pool);
  Request request = DrawnRequest(TestPrompt(150), 1, 0);
  request.prompt_log_probabilities = true;
  Collector all, part;
  driver.Add(request, all);
  driver.Finish();
  request.prompt_log_probabilities_begin = 120;
  driver.Add(request, part);
  driver.Finish();
  EXPECT_EQ(all.answer().finish.reason, FinishReason::kMaxTokens);
  EXPECT_EQ(part.answer().finish.cached_tokens, 119);
  const std::vector<TokenLogProbability> scores = all.answer().prompt_scores;
  ASSERT_EQ(scores.size(), 150u);
  EXPECT_TRUE(std::isnan(scores[0].log_probability));
  EXPECT_TRUE(SameScores(part.answer().prompt_scores, {scores.begin() + 120, scores.end()}));

  // What the runner says of the same tokens in one step.
  Runner runner(*model, {.positions = 150, .rows = 150, .logits_rows = 150}, pool);
  runner.Run({.chunks = {{.pages = runner.Table(0), .tokens = request.prompt, .logits = 150}}});
  for (size_t i = 1; i < 150; ++i) {
    const TokenLogProbability score =
        ScoreToken(runner.Logits(static_cast<int64_t>(i) - 1), request.prompt[i],
                   model->tokenizer.ids(), /*top=*/3);
    EXPECT_TRUE(SameScores({score}, {scores[i]})) << i;
  }
}

TEST(Scheduler, LogProbabilitiesAreOfTheModelNotOfThePenalties) {
  ThreadPool pool(1);
  const auto model = TinyModel(pool);
  Request request = DrawnRequest(TestPrompt(10), 1, 1);
  const Answer plain = Alone(*model, pool, request);
  request.sampling.allowed_tokens = {plain.scores[0].top[1].token};
  request.sampling.logit_bias = {{plain.scores[0].top[1].token, -50}};
  request.sampling.presence_penalty = 2;
  const Answer other = Alone(*model, pool, request);
  EXPECT_EQ(other.tokens, request.sampling.allowed_tokens);
  EXPECT_TRUE(SameBits(other.scores[0].log_probability, plain.scores[0].top[1].log_probability));
}

// One that cannot be given its pages holds up no decode, and those that come later.
TEST(Scheduler, TakesSequencesInOrderAndStarvesNone) {
  ThreadPool pool(1);
  const auto model = TinyModel(pool);
  constexpr int64_t kLong = 2000;
  Collector old, huge, answers[20];
  Driver driver(*model, {.context = 2048, .max_sequences = 40, .batch_rows = 64}, pool);
  driver.Add(GreedyRequest(TestPrompt(20), 10000), old);
  driver.scheduler().Step();
  driver.Add(GreedyRequest(TestPrompt(kLong, 1), 1), huge);
  int64_t steps = 0;
  // There is always a short prompt more.
  while (!huge.over()) {
    if (steps < std::ssize(answers)) {
      driver.Add(GreedyRequest(TestPrompt(8, static_cast<int32_t>(steps + 2)), 1), answers[steps]);
    }
    const size_t before = old.answer().tokens.size();
    driver.scheduler().Step();
    EXPECT_TRUE(old.over() || old.answer().tokens.size() == before + 1);  // at each step
    // A quarter of the rows are for prompts, and a half of that is enough for a short one.
    EXPECT_TRUE(steps >= std::ssize(answers) || answers[steps].over()) << steps;
    ++steps;
  }
  // The long prompt had what was left of the quarter, and all of it when there was no other.
  EXPECT_LE(steps, kLong / 8);
  EXPECT_GE(steps, kLong / 16);
}

// However many shorter ones there are.
TEST(Scheduler, AQuarterOfTheRowsIsForTheOldestPrompt) {
  ThreadPool pool(1);
  const auto model = TinyModel(pool);
  constexpr int64_t kLong = 400, kRows = 16;
  Collector huge;
  std::deque<Collector> answers;
  Driver driver(*model, {.context = 512, .max_sequences = 20, .batch_rows = kRows}, pool);
  driver.Add(GreedyRequest(TestPrompt(kLong), 1), huge);
  int64_t steps = 0;
  for (; !huge.over(); ++steps) {
    for (int i = 0; i < 3; ++i) {
      const auto first = static_cast<int32_t>(answers.size()) + 1;
      driver.Add(GreedyRequest(TestPrompt(8, first), 1), answers.emplace_back());
    }
    driver.scheduler().Step();
  }
  EXPECT_LE(steps, kLong / 4);
  EXPECT_GE(steps, kLong / 4 - 2);  // in the end it has no more left than they
  // The others had three quarters.
  EXPECT_GE(std::ranges::count_if(answers, &Collector::over), (steps - 1) * (kRows - 4) / 8);
  driver.Finish();
  ExpectAllFree(driver);
}

// The shorter ones first, then the older ones; none of them gets rows that one before it could use.
TEST(Scheduler, PromptsThatComeTogetherEndOneAfterTheOther) {
  ThreadPool pool(1);
  const auto model = TinyModel(pool);
  constexpr int64_t kRows = 64, kBeside = kRows / 4;
  Collector answers[8];  // outlive the sequences, which do not end here
  Driver driver(*model, {.context = 256, .batch_rows = kRows}, pool);
  for (int32_t i = 0; i < 8; ++i) {
    Request request = GreedyRequest(TestPrompt(i == 5 ? kBeside : kRows, i), 100);
    request.ignore_eos = true;
    driver.Add(request, answers[i]);
  }
  std::vector<int64_t> first_tokens(8);  // steps
  for (int64_t step = 1; std::ranges::count(first_tokens, 0) > 0; ++step) {
    driver.scheduler().Step();
    for (size_t i = 0; i < 8; ++i) {
      if (first_tokens[i] == 0 && !answers[i].answer().tokens.empty()) first_tokens[i] = step;
    }
  }
  // The oldest has its quarter in the first step. The short one, whose turn it is, ends there, so
  // no more is computed before it has its token; from then on prompts get a quarter of the rows.
  EXPECT_EQ(first_tokens, (std::vector<int64_t>{4, 8, 12, 16, 20, 1, 24, 28}));
}

TEST(Scheduler, DeadlinesAndCancelsEndWhatRunsAndWaits) {
  ThreadPool pool(1);
  const auto model = TinyModel(pool);
  Driver driver(*model, {.context = 256, .max_sequences = 2}, pool);
  Request late = GreedyRequest(TestPrompt(80), 100);
  late.ignore_eos = true;
  Collector on_time, too_late, cancelled, waiting;
  driver.Add(late, on_time);
  late.deadline = Sequence::Clock::now() - std::chrono::seconds(1);
  driver.Add(late, too_late);
  late.deadline = Sequence::Clock::now() + std::chrono::hours(1);
  const uint64_t id = driver.Add(late, cancelled);
  const uint64_t waiting_id = driver.Add(late, waiting);
  for (int i = 0; i < 5; ++i) driver.scheduler().Step();
  EXPECT_TRUE(too_late.over());
  driver.scheduler().Cancel(id);
  driver.scheduler().Cancel(waiting_id);
  driver.scheduler().Step();
  EXPECT_TRUE(cancelled.over());
  EXPECT_TRUE(waiting.over());
  driver.Finish();
  EXPECT_EQ(too_late.answer().finish.reason, FinishReason::kDeadline);
  EXPECT_EQ(cancelled.answer().finish.reason, FinishReason::kCancelled);
  EXPECT_FALSE(cancelled.answer().tokens.empty());
  EXPECT_TRUE(waiting.answer().tokens.empty());
  EXPECT_EQ(on_time.answer().tokens.size(), 100u);
  ExpectAllFree(driver);
}

TEST(Scheduler, StopStringsMaySpanTokens) {
  ThreadPool pool(1);
  const auto model = TinyModel(pool);
  Request request = DrawnRequest(TestPrompt(12), 3, 60);
  const Answer whole = Alone(*model, pool, request);
  ASSERT_GT(whole.text.size(), 40u);
  // From within a piece to within one of the next ones.
  ASSERT_GT(whole.pieces.size(), 8u);
  size_t begin = 0;
  for (size_t i = 0; i < 4; ++i) begin += whole.pieces[i].size();
  const std::string stop = whole.pieces[4] + whole.pieces[5] + whole.pieces[6];
  request.stop_strings = {"never there", stop};
  const Answer stopped = Alone(*model, pool, request);
  EXPECT_EQ(stopped.finish.reason, FinishReason::kStopString);
  EXPECT_EQ(stopped.text, whole.text.substr(0, whole.text.find(stop)));
  EXPECT_LE(stopped.text.size(), begin);
  EXPECT_LT(stopped.tokens.size(), whole.tokens.size());

  // What only begins like one comes out in the end.
  request.stop_strings = {whole.text + "never there"};
  const Answer held = Alone(*model, pool, request);
  EXPECT_EQ(held.text, whole.text);
  EXPECT_EQ(held.finish.reason, whole.finish.reason);
  EXPECT_EQ(held.pieces.size(), 1u);
}

TEST(Scheduler, IgnoresEosIfAsked) {
  ThreadPool pool(1);
  const auto model = TinyModel(pool);
  ASSERT_FALSE(model->special_tokens.eos.empty());
  Request request = GreedyRequest(TestPrompt(5), 6);
  request.sampling.allowed_tokens = {model->special_tokens.eos[0]};
  const Answer stopped = Alone(*model, pool, request);
  EXPECT_EQ(stopped.finish.reason, FinishReason::kStopToken);
  EXPECT_TRUE(stopped.tokens.empty());
  request.ignore_eos = true;
  const Answer ignored = Alone(*model, pool, request);
  EXPECT_EQ(ignored.finish.reason, FinishReason::kMaxTokens);
  EXPECT_EQ(ignored.tokens, std::vector<int32_t>(6, model->special_tokens.eos[0]));
}

TEST(Scheduler, CountsAndTimes) {
  ThreadPool pool(1);
  const auto model = TinyModel(pool);
  const Answer answer = Alone(*model, pool, GreedyRequest(TestPrompt(50), 10));
  EXPECT_EQ(answer.finish.prompt_tokens, 50);
  EXPECT_EQ(answer.finish.completion_tokens, 10);
  EXPECT_EQ(answer.finish.cached_tokens, 0);
  EXPECT_GT(answer.finish.prompt_seconds, 0);
  EXPECT_GT(answer.finish.decode_seconds, 0);
  EXPECT_GE(answer.finish.queue_seconds, 0);
}

TEST(Scheduler, PromptsAtTheEndOfTheContext) {
  ThreadPool pool(1);
  const auto model = TinyModel(pool);
  const Answer full = Alone(*model, pool, GreedyRequest(TestPrompt(64), 5), /*context=*/64);
  EXPECT_EQ(full.finish.reason, FinishReason::kContextFull);
  EXPECT_TRUE(full.tokens.empty());
  const Answer last = Alone(*model, pool, GreedyRequest(TestPrompt(63), 5), /*context=*/64);
  EXPECT_EQ(last.finish.reason, FinishReason::kContextFull);
  EXPECT_EQ(last.tokens.size(), 1u);
  const Answer one = Alone(*model, pool, GreedyRequest({5}, 0));
  EXPECT_EQ(one.finish.reason, FinishReason::kMaxTokens);
}

TEST(Scheduler, RefusesWhatIsNotValid) {
  ThreadPool pool(1);
  const auto model = TinyModel(pool);
  const auto refuse = [&](auto change) {
    Request request = GreedyRequest(TestPrompt(10), 5);
    change(request);
    Alone(*model, pool, request);
  };
  EXPECT_ERROR("the prompt is empty", refuse([](Request& r) { r.prompt.clear(); }));
  EXPECT_ERROR("161 tokens, the context has room for 160",
               refuse([](Request& r) { r.prompt = TestPrompt(161); }));
  EXPECT_ERROR("-1", refuse([](Request& r) { r.prompt[3] = -1; }));
  EXPECT_ERROR("999999", refuse([](Request& r) { r.stop_tokens = {999999}; }));
  EXPECT_ERROR("max-tokens", refuse([](Request& r) { r.max_tokens = -1; }));
  EXPECT_ERROR("top-log-probabilities", refuse([](Request& r) { r.top_log_probabilities = -1; }));
  EXPECT_ERROR("prompt-log-probabilities-begin",
               refuse([](Request& r) { r.prompt_log_probabilities_begin = 11; }));
  EXPECT_ERROR("top-p", refuse([](Request& r) { r.sampling.top_p = 2; }));
  EXPECT_ERROR("stop", refuse([](Request& r) { r.stop_strings = {""}; }));
  EXPECT_ERROR("logit-bias", refuse([](Request& r) { r.sampling.logit_bias = {{-5, 1}}; }));
  EXPECT_ERROR("KV cache: expected at least",
               Scheduler(*model, {.context = 160, .kv_bytes = 2 * PageBytes(*model)}, pool));
}

TEST(Scheduler, EndAllTellsEverySink) {
  ThreadPool pool(1);
  const auto model = TinyModel(pool);
  Driver driver(*model, {.context = 256, .max_sequences = 2}, pool);
  Collector answers[4];
  for (Collector& answer : answers) driver.Add(GreedyRequest(TestPrompt(80), 50), answer);
  for (int i = 0; i < 5; ++i) driver.scheduler().Step();
  driver.scheduler().EndAll(FinishReason::kError, "for a test");
  for (Collector& answer : answers) {
    ASSERT_TRUE(answer.over());
    EXPECT_EQ(answer.answer().finish.error, "for a test");
  }
  EXPECT_FALSE(driver.scheduler().Step());
  ExpectAllFree(driver);
}

}  // namespace
}  // namespace fptq
