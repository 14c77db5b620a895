#include "engine/scheduler.h"

#include <algorithm>
#include <atomic>
#include <limits>
#include <utility>

#include "base/error.h"
#include "machine/limits.h"

namespace fptq {
namespace {

// While others decode, prompts get one of so many parts of the rows of a step: the others wait for
// it. So do those that would be the first to decode.
constexpr int64_t kPartsBesideDecodes = 4;
// One of so many parts of the rows for prompts is for the oldest, however many shorter ones come.
constexpr int64_t kPartsForOldest = 4;

int64_t ChoosePages(const Model& model, const SchedulerOptions& options) {
  const ModelConfig& config = model.config();
  const int64_t page =
      KvCache::PageBytes(config, options.kv_type.value_or(model.kv_type()), config.layers);
  const int64_t least = PagesFor(options.context);
  if (options.kv_bytes > 0) {
    const int64_t pages = options.kv_bytes / page;
    if (pages < least) {
      throw Error("KV cache: expected at least {} bytes for a context of {} tokens, found {}",
                  CheckedMultiply(least, page, "KV cache"), options.context, options.kv_bytes);
    }
    return std::min<int64_t>(pages, std::numeric_limits<int32_t>::max());
  }
  const int64_t wanted = CheckedMultiply(least, options.max_sequences, "KV cache");
  return std::max(least, std::min(wanted, AvailableMemory() / 2 / page));
}

RunnerOptions RunnerOptionsFor(const Model& model, const SchedulerOptions& options) {
  FPTQ_CHECK(options.context >= 1 && options.max_sequences >= 1);
  FPTQ_CHECK(options.batch_rows >= 1 && options.scored_rows >= 1);
  return {.kv_type = options.kv_type,
          .slots = 1,
          .positions = ChoosePages(model, options) * kKvBlock,
          .rows = options.max_sequences + options.batch_rows,
          .logits_rows = options.max_sequences + std::min(options.batch_rows, options.scored_rows),
          .sections = SectionsFor(options.context) * std::min<int64_t>(options.max_sequences, 4)};
}

int64_t CommonPrefix(std::span<const int32_t> a, std::span<const int32_t> b) {
  return std::ranges::mismatch(a, b).in1 - a.begin();
}

}  // namespace

Scheduler::Scheduler(const Model& model, const SchedulerOptions& options, ThreadPool& pool)
    : options_(options),
      runner_(model, RunnerOptionsFor(model, options), pool),
      pool_(runner_.pages(), options.prefix_cache),
      scratch_(static_cast<size_t>(pool.threads())) {}

std::unique_ptr<Sequence> Scheduler::MakeSequence(Request request, std::unique_ptr<Sink> sink) {
  return std::make_unique<Sequence>(model(), pool_, options_.context, std::move(request),
                                    std::move(sink));
}

void Scheduler::Add(std::unique_ptr<Sequence> sequence) {
  waiting_.push_back(std::move(sequence));
  ++unstarted_;
}

void Scheduler::Cancel(uint64_t id) {
  for (const Sequences* sequences : {&waiting_, &running_}) {
    for (const std::unique_ptr<Sequence>& sequence : *sequences) {
      if (sequence->id == id) sequence->interrupted = FinishReason::kCancelled;
    }
  }
}

SchedulerStatistics Scheduler::statistics() const {
  SchedulerStatistics statistics = statistics_;
  statistics.waiting = std::ssize(waiting_);
  statistics.running = std::ssize(running_);
  statistics.pages = pool_.size();
  statistics.free_pages = pool_.available();
  return statistics;
}

bool Scheduler::Step() {
  EndInterrupted();
  AdmitWaiting();
  plan_.clear();
  PlanDecodes();
  PlanPrompts();
  if (plan_.empty()) {
    FPTQ_CHECK(waiting_.empty() && running_.empty());
    return false;
  }
  FillBatch();
  runner_.Run(batch_);
  EvaluateLogits();
  Advance();
  ++statistics_.steps;
  return true;
}

void Scheduler::EndAll(FinishReason reason, const std::string& error) {
  for (Sequences* sequences : {&running_, &waiting_}) {
    for (const auto& sequence : std::exchange(*sequences, {})) End(*sequence, reason, error);
  }
}

void Scheduler::End(Sequence& sequence, FinishReason reason, const std::string& error) {
  if (!sequence.started()) --unstarted_;
  sequence.End(reason, error);
}

void Scheduler::EndInterrupted() {
  const Sequence::Clock::time_point now = Sequence::Clock::now();
  for (Sequences* sequences : {&running_, &waiting_}) {
    std::erase_if(*sequences, [&](const std::unique_ptr<Sequence>& sequence) {
      const auto deadline = sequence->deadline();
      if (!sequence->interrupted && deadline && *deadline <= now) {
        sequence->interrupted = FinishReason::kDeadline;
      }
      if (sequence->interrupted) End(*sequence, *sequence->interrupted);
      return sequence->interrupted.has_value();
    });
  }
}

// In order: nobody overtakes one that needs more pages than there are. Those that run keep a page
// each to grow into.
void Scheduler::AdmitWaiting() {
  size_t admitted = 0;
  while (admitted < waiting_.size() && std::ssize(running_) < options_.max_sequences &&
         waiting_[admitted]->Admit(/*spare=*/std::ssize(running_))) {
    const auto later = std::ranges::upper_bound(running_, waiting_[admitted]->id, {},
                                                [](const auto& s) { return s->id; });
    running_.insert(later, std::move(waiting_[admitted++]));
  }
  waiting_.erase(waiting_.begin(), waiting_.begin() + static_cast<std::ptrdiff_t>(admitted));
}

void Scheduler::Preempt(size_t index) {
  std::unique_ptr<Sequence> sequence = std::move(running_[index]);
  running_.erase(running_.begin() + static_cast<std::ptrdiff_t>(index));
  if (sequence->begun()) ++statistics_.preemptions;
  sequence->Preempt();
  const auto later =
      std::ranges::upper_bound(waiting_, sequence->id, {}, [](const auto& s) { return s->id; });
  waiting_.insert(later, std::move(sequence));
}

// From the oldest to the youngest, which is the one to lose its pages.
void Scheduler::PlanDecodes() {
  for (size_t i = 0; i < running_.size(); ++i) {
    if (!running_[i]->decoding()) continue;
    while (i < running_.size() && !running_[i]->Grow()) Preempt(running_.size() - 1);
    if (i < running_.size()) plan_.push_back({running_[i].get(), 1});
  }
}

// True unless it waits for a sequence of this step that computes what its tokens begin with.
bool Scheduler::Begin(Sequence& sequence) {
  if (sequence.begun()) return true;
  if (options_.prefix_cache) {
    const auto shareable = sequence.tokens().first(
        static_cast<size_t>(std::min(sequence.first_logits(), std::ssize(sequence.tokens()))));
    for (const Share& other : plan_) {
      if (other.sequence->decoding()) continue;
      const int64_t common = CommonPrefix(shareable, other.sequence->tokens());
      if (common - sequence.computed() >= options_.worth_waiting &&
          other.sequence->computed() < common) {
        return false;
      }
    }
  }
  if (!sequence.started()) --unstarted_;
  sequence.Begin(
      [&](int32_t from, int32_t to) { runner_.cache().CopyPage(from, to, runner_.pool()); });
  statistics_.cached_tokens += sequence.computed();
  return true;
}

void Scheduler::PlanPrompts() {
  const int64_t beside = std::max<int64_t>(1, options_.batch_rows / kPartsBesideDecodes);
  int64_t most = options_.batch_rows;
  if (std::ranges::any_of(plan_, [](const Share& share) { return share.sequence->answering(); })) {
    most = beside;
  }
  std::vector<Sequence*> prompts;
  for (const auto& sequence : running_) {
    if (!sequence->decoding()) prompts.push_back(sequence.get());
  }
  if (prompts.empty()) return;
  // It is planned first, so it waits for no other.
  Sequence* oldest = prompts.front();
  FPTQ_CHECK(Begin(*oldest));
  const int64_t kept = std::min(oldest->left(), std::max<int64_t>(1, most / kPartsForOldest));
  const size_t place = plan_.size();
  plan_.push_back({oldest, kept});
  std::ranges::stable_sort(prompts, {}, [&](const Sequence* sequence) {
    return sequence->left() - (sequence == oldest ? kept : 0);
  });
  int64_t rows = kept;
  for (Sequence* sequence : prompts) {
    if (sequence != oldest && (rows >= most || !Begin(*sequence))) continue;
    Share& share = sequence == oldest ? plan_[place] : plan_.emplace_back(sequence, 0);
    const int64_t more = std::min(sequence->left() - share.rows, std::max<int64_t>(0, most - rows));
    share.rows += more;
    rows += more;
    // From now on it is one of those that others hold up.
    if (share.rows == sequence->left() && sequence->will_decode()) most = std::min(most, beside);
  }
}

void Scheduler::FillBatch() {
  batch_.chunks.clear();
  logits_rows_.clear();
  const int64_t most = runner_.activations().max_logits_rows;
  std::erase_if(plan_, [&](Share& share) {
    BatchChunk chunk = share.sequence->Chunk(share.rows);
    if (const int64_t surplus = std::ssize(logits_rows_) + chunk.logits - most; surplus > 0) {
      if (surplus >= share.rows) return true;
      share.rows -= surplus;
      chunk = share.sequence->Chunk(share.rows);
    }
    const int64_t end = chunk.first_position + share.rows;
    for (int64_t row = end - chunk.logits; row < end; ++row) {
      logits_rows_.push_back({share.sequence, row});
    }
    batch_.chunks.push_back(chunk);
    return false;
  });
}

void Scheduler::EvaluateLogits() {
  results_.resize(logits_rows_.size());
  std::atomic<int64_t> next = 0;
  runner_.pool().ParallelEach(std::ssize(scratch_), [&](int64_t thread) {
    for (int64_t i; (i = next++) < std::ssize(logits_rows_);) {
      const LogitsRow& row = logits_rows_[static_cast<size_t>(i)];
      results_[static_cast<size_t>(i)] =
          row.sequence->Evaluate(row.row, runner_.Logits(i), scratch_[static_cast<size_t>(thread)]);
    }
  });
}

void Scheduler::Advance() {
  size_t begin = 0;
  for (size_t i = 0; i < plan_.size(); ++i) {
    const auto [sequence, rows] = plan_[i];
    const std::span results =
        std::span(results_).subspan(begin, static_cast<size_t>(batch_.chunks[i].logits));
    begin += results.size();
    const int64_t tokens = std::ssize(sequence->tokens());
    if (rows > 1 || !sequence->answering()) statistics_.prompt_tokens += rows;
    const bool over = sequence->Advance(rows, results);
    statistics_.completion_tokens += std::ssize(sequence->tokens()) - tokens;
    if (over) {
      std::erase_if(running_, [s = sequence](const auto& running) { return running.get() == s; });
    }
  }
}

}  // namespace fptq
