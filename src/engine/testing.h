// What the tests of the engine share.
#pragma once

#include <gtest/gtest.h>

#include <condition_variable>
#include <cstring>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/test_paths.h"
#include "base/test_util.h"
#include "base/utf8.h"
#include "engine/scheduler.h"

namespace fptq {

inline std::shared_ptr<const Model> TinyModel(ThreadPool& pool,
                                              std::string_view name = "tiny-llama-w4a8") {
  return LoadModel(std::filesystem::path(kTestdata) / "models" / name, pool);
}

inline std::vector<int32_t> TestPrompt(int64_t n, int32_t seed = 0) {
  std::vector<int32_t> tokens;
  for (int64_t i = 0; i < n; ++i) {
    tokens.push_back(static_cast<int32_t>(3 + (i * i * 7 + i * (seed + 1) + 13 * seed) % 270));
  }
  return tokens;
}

inline Request GreedyRequest(std::vector<int32_t> prompt, int64_t max_tokens) {
  Request request;
  request.prompt = std::move(prompt);
  request.sampling.temperature = 0;
  request.max_tokens = max_tokens;
  return request;
}

inline Request DrawnRequest(std::vector<int32_t> prompt, int32_t seed, int64_t max_tokens) {
  Request request;
  request.prompt = std::move(prompt);
  request.sampling = {
      .temperature = 1.5, .top_k = 0, .top_p = 1, .seed = static_cast<uint64_t>(seed)};
  request.max_tokens = max_tokens;
  request.log_probabilities = true;
  request.top_log_probabilities = 3;
  return request;
}

inline bool SameBits(double a, double b) { return std::memcmp(&a, &b, sizeof(a)) == 0; }

inline bool SameScores(const std::vector<TokenLogProbability>& a,
                       const std::vector<TokenLogProbability>& b) {
  const auto same_top = [](const TokenLogProbability::Alternative& x,
                           const TokenLogProbability::Alternative& y) {
    return x.token == y.token && SameBits(x.log_probability, y.log_probability);
  };
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [&](const TokenLogProbability& x, const TokenLogProbability& y) {
                      return x.token == y.token && SameBits(x.log_probability, y.log_probability) &&
                             std::ranges::equal(x.top, y.top, same_top);
                    });
}

struct Answer {
  std::vector<int32_t> tokens;
  std::string text;
  std::vector<std::string> pieces;  // of the text, as they came
  std::vector<TokenLogProbability> scores, prompt_scores;
  Finish finish;

  // Bit by bit; not the pieces and the times.
  bool operator==(const Answer& other) const {
    return tokens == other.tokens && text == other.text && finish.reason == other.finish.reason &&
           SameScores(scores, other.scores) && SameScores(prompt_scores, other.prompt_scores);
  }
};

// Collects an answer, be it from another thread. It must outlive the sink.
class Collector {
 public:
  std::unique_ptr<Sink> NewSink() {
    sink_gone_ = false;
    return std::make_unique<CollectorSink>(*this);
  }

  // Until the sink is gone.
  const Answer& Wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return sink_gone_; });
    EXPECT_TRUE(over_);
    return answer_;
  }
  void WaitForToken() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return !answer_.tokens.empty() || over_; });
  }
  bool over() const {
    const std::lock_guard lock(mutex_);
    return over_;
  }
  bool sink_gone() const {
    const std::lock_guard lock(mutex_);
    return sink_gone_;
  }
  // As of now.
  Answer answer() const {
    const std::lock_guard lock(mutex_);
    return answer_;
  }

 private:
  class CollectorSink : public Sink {
   public:
    explicit CollectorSink(Collector& to) : to_(to) {}
    ~CollectorSink() override {
      const std::lock_guard lock(to_.mutex_);
      to_.sink_gone_ = true;
      to_.changed_.notify_all();
    }
    void OnDelta(Delta delta) override {
      const std::lock_guard lock(to_.mutex_);
      Answer& answer = to_.answer_;
      EXPECT_FALSE(to_.over_);
      EXPECT_EQ(delta.text, ReplaceIllFormedUtf8(delta.text));  // whole characters
      if (!delta.prompt_log_probabilities.empty()) {
        EXPECT_TRUE(answer.tokens.empty() && answer.prompt_scores.empty());
      }
      if (!delta.text.empty()) answer.pieces.push_back(delta.text);
      answer.text += delta.text;
      const auto append = [](auto& all, const auto& more) {
        all.insert(all.end(), more.begin(), more.end());
      };
      append(answer.tokens, delta.tokens);
      append(answer.scores, delta.log_probabilities);
      append(answer.prompt_scores, delta.prompt_log_probabilities);
      to_.changed_.notify_all();
    }
    void OnFinish(const Finish& finish) override {
      const std::lock_guard lock(to_.mutex_);
      EXPECT_FALSE(to_.over_);
      to_.over_ = true;
      to_.answer_.finish = finish;
      to_.changed_.notify_all();
    }

   private:
    Collector& to_;
  };

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  bool sink_gone_ = true, over_ = false;
  Answer answer_;
};

// Sequences are numbered in the order of the calls.
class Driver {
 public:
  Driver(const Model& model, const SchedulerOptions& options, ThreadPool& pool)
      : scheduler_(model, options, pool) {}

  uint64_t Add(const Request& request, Collector& answer) {
    auto sequence = scheduler_.MakeSequence(request, answer.NewSink());
    sequence->id = ++last_id_;
    scheduler_.Add(std::move(sequence));
    return last_id_;
  }
  void Finish() {
    while (scheduler_.Step()) {
    }
  }
  Scheduler& scheduler() { return scheduler_; }
  const Scheduler& scheduler() const { return scheduler_; }

 private:
  Scheduler scheduler_;
  uint64_t last_id_ = 0;
};

// The answer of a scheduler that has nothing else, without a prefix cache.
inline Answer Alone(const Model& model, ThreadPool& pool, const Request& request,
                    int64_t context = 160) {
  Driver driver(model, {.context = context, .max_sequences = 1, .prefix_cache = false}, pool);
  Collector answer;
  driver.Add(request, answer);
  driver.Finish();
  return answer.answer();
}

}  // namespace fptq
