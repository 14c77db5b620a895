#include "engine/engine.h"

#include <algorithm>
#include <iterator>
#include <optional>

#include "base/error.h"

namespace fptq {
namespace {

constexpr int64_t kPrefillRows = 512;

SchedulerOptions OptionsFor(const Model& model, int64_t context) {
  // A page more, for the copy of a part of one that is full of the conversation so far.
  const int64_t page = KvCache::PageBytes(model.config(), model.kv_type(), model.config().layers);
  return {.context = context,
          .max_sequences = 1,
          .kv_bytes = CheckedMultiply(PagesFor(context) + 1, page, "KV cache"),
          .batch_rows = std::min(context, kPrefillRows)};
}

// What has come since the caller looked.
struct Answer {
  std::string text;
  std::vector<int32_t> tokens;
  std::optional<Finish> finish;
};

class AnswerSink : public Sink {
 public:
  explicit AnswerSink(Answer& answer) : answer_(answer) {}
  void OnDelta(Delta delta) override {
    answer_.text += delta.text;
    std::ranges::copy(delta.tokens, std::back_inserter(answer_.tokens));
  }
  void OnFinish(const Finish& finish) override { answer_.finish = finish; }

 private:
  Answer& answer_;
};

double Rate(int64_t tokens, double seconds) {
  return tokens == 0 ? 0 : static_cast<double>(tokens) / seconds;
}

Timings TimingsOf(const Finish& finish, int64_t prompt_tokens) {
  // A stop token was drawn, too.
  const int64_t drawn =
      finish.completion_tokens + (finish.reason == FinishReason::kStopToken ? 1 : 0);
  return {.prompt_tokens = prompt_tokens,
          .prompt_seconds = finish.prompt_seconds,
          .decode_tokens = std::max<int64_t>(0, drawn - 1),
          .decode_seconds = finish.decode_seconds};
}

}  // namespace

Timings& Timings::operator+=(const Timings& other) {
  prompt_tokens += other.prompt_tokens;
  prompt_seconds += other.prompt_seconds;
  decode_tokens += other.decode_tokens;
  decode_seconds += other.decode_seconds;
  return *this;
}

double Timings::prompt_rate() const { return Rate(prompt_tokens, prompt_seconds); }
double Timings::decode_rate() const { return Rate(decode_tokens, decode_seconds); }

Engine::Engine(std::shared_ptr<const Model> model, ThreadPool& pool, int64_t context)
    : model_(std::move(model)), scheduler_(*model_, OptionsFor(*model_, context), pool) {}

Generation Engine::Generate(std::span<const int32_t> prompt, const GenerateOptions& options,
                            FunctionRef<void(std::string_view)> on_text) {
  Answer answer;
  Request request{.prompt = {prompt.begin(), prompt.end()},
                  .sampling = options.sampling,
                  .max_tokens = options.max_tokens,
                  .stop_tokens = options.stop_tokens,
                  .stop_strings = options.stop_strings};
  scheduler_.Add(scheduler_.MakeSequence(std::move(request), std::make_unique<AnswerSink>(answer)));
  const int64_t computed_before = scheduler_.statistics().prompt_tokens;
  Generation out;
  try {
    while (!answer.finish) {
      if (options.cancel != nullptr && options.cancel->load(std::memory_order_relaxed)) {
        scheduler_.EndAll(FinishReason::kCancelled);
      } else {
        scheduler_.Step();
      }
      if (!answer.text.empty()) on_text(answer.text);
      out.text += std::exchange(answer.text, {});
    }
  } catch (...) {  // e.g. of on_text: the sink does not outlive this call
    scheduler_.EndAll(FinishReason::kCancelled);
    throw;
  }
  if (answer.finish->reason == FinishReason::kError) throw Error("{}", answer.finish->error);
  out.tokens = std::move(answer.tokens);
  out.stop = answer.finish->reason;
  out.timings = TimingsOf(*answer.finish, scheduler_.statistics().prompt_tokens - computed_before);
  return out;
}

}  // namespace fptq
