// Which rows of which sequences a step computes.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/page_pool.h"
#include "engine/request.h"
#include "engine/runner.h"
#include "engine/sequence.h"

namespace fptq {

struct SchedulerOptions {
  // The most tokens of a sequence, prompt and answer together; the model has to have so many
  // positions (but the last token needs none).
  int64_t context = 4096;
  int64_t max_sequences = 64;  // that run together; the others wait
  // Memory for keys and values; 0: what max_sequences of the full context need, but at most a half
  // of AvailableMemory(). One sequence of the full context fits in any case.
  int64_t kv_bytes = 0;
  int64_t batch_rows = 512;  // the most tokens of prompts that a step computes,
  // and of those whose log-probabilities are asked for: at a vocabulary of 150,000, 64 rows of
  // logits are 38 MB.
  int64_t scored_rows = 64;
  bool prefix_cache = true;
  // A prompt that has so many tokens in common with one that is computed in this step waits for it,
  // rather than to compute them as well.
  int64_t worth_waiting = kKvBlock / 2;
  std::optional<KvType> kv_type = {};  // the model's own by default
};

// Counted since the start, or as of now.
struct SchedulerStatistics {
  int64_t waiting = 0, running = 0;   // sequences, now
  int64_t pages = 0, free_pages = 0;  // of the KV cache, now
  int64_t prompt_tokens = 0;          // computed, be it again
  int64_t cached_tokens = 0;          // found in the prefix cache instead
  int64_t completion_tokens = 0;
  int64_t preemptions = 0, steps = 0;
};

// Sequences over one model, side by side: continuous batching. What a sequence gives depends on its
// request alone, not on the others, on when they come, or on what the cache holds. For one thread,
// which calls Step as long as there is something to do; sinks are called from there, and must not
// call it.
//
// A step computes a token of each sequence that decodes, and beside them some of the prompts: those
// that have least left, the older of equals, so that prompts that come together end one after the
// other. Rows for prompts are batch_rows, but a quarter of that where others decode, or where one
// of the prompts ends and is to decode next. No shorter ones can hold up the oldest: a quarter of
// those rows is kept for it, so a prompt of n tokens is computed in 4 n / rows steps from when it
// is the oldest. Who waits comes in as pages allow, first come, first served. If they run out, the
// youngest gives its pages back and waits again, so the oldest always goes on.
class Scheduler {
 public:
  // `model` and `pool` must outlive it. Error if kv_bytes has no room for a context.
  Scheduler(const Model& model, const SchedulerOptions& options, ThreadPool& pool);

  const Model& model() const { return runner_.model(); }
  int64_t context() const { return options_.context; }

  // May be called from any thread. Error if the request is not valid (Sequence).
  std::unique_ptr<Sequence> MakeSequence(Request request, std::unique_ptr<Sink> sink);
  // `sequence->id` is larger than those before.
  void Add(std::unique_ptr<Sequence> sequence);
  // Of the sequence with that id, if there is one: ends with the next step.
  void Cancel(uint64_t id);

  // False if there is nothing left to do.
  bool Step();
  // Ends all sequences now.
  void EndAll(FinishReason reason, const std::string& error = {});

  // Sequences that are not over, and those of them that never had a step; the latter for any
  // thread.
  int64_t unfinished() const { return std::ssize(waiting_) + std::ssize(running_); }
  int64_t unstarted() const { return unstarted_; }
  SchedulerStatistics statistics() const;

 private:
  using Sequences = std::vector<std::unique_ptr<Sequence>>;
  // Rows of a sequence in a step.
  struct Share {
    Sequence* sequence = nullptr;
    int64_t rows = 0;
  };
  // A row of logits, and whose it is.
  struct LogitsRow {
    Sequence* sequence = nullptr;
    int64_t row = 0;  // in the sequence
  };

  void End(Sequence& sequence, FinishReason reason, const std::string& error = {});
  void EndInterrupted();
  void AdmitWaiting();
  void PlanDecodes();
  void PlanPrompts();
  bool Begin(Sequence& sequence);
  void FillBatch();
  void EvaluateLogits();
  void Advance();
  void Preempt(size_t index);

  SchedulerOptions options_;
  Runner runner_;
  PagePool pool_;                // after the runner, and before the sequences
  Sequences waiting_, running_;  // by id
  std::atomic<int64_t> unstarted_ = 0;
  std::vector<Share> plan_;
  ForwardBatch batch_;
  std::vector<LogitsRow> logits_rows_;
  std::vector<RowResult> results_;         // of each
  std::vector<Sampler::Scratch> scratch_;  // of each thread
  SchedulerStatistics statistics_;
};

}  // namespace fptq
