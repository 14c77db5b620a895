#include "engine/engine.h"

#include <algorithm>
#include <chrono>

#include "base/error.h"

namespace fptq {
namespace {

constexpr int64_t kPrefillRows = 512;

class Stopwatch {
 public:
  double Seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

bool Cancelled(const GenerateOptions& options) {
  return options.cancel != nullptr && options.cancel->load(std::memory_order_relaxed);
}

bool Contains(std::span<const int32_t> tokens, int32_t token) {
  return std::find(tokens.begin(), tokens.end(), token) != tokens.end();
}

double Rate(int64_t tokens, double seconds) {
  return tokens == 0 ? 0 : static_cast<double>(tokens) / seconds;
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
    : model_(std::move(model)),
      pool_(pool),
      context_(context),
      cache_(model_->config(), model_->kv_type(), PagesFor(context), model_->config().layers),
      pages_(PageRange(0, cache_.pages())),
      activations_(model_->config(), std::min(context, kPrefillRows), /*max_logits_rows=*/1,
                   SectionsFor(context)),
      batch_{.chunks = std::vector<BatchChunk>(1)} {
  tokens_.reserve(static_cast<size_t>(context));
}

Generation Engine::Generate(std::span<const int32_t> prompt, const GenerateOptions& options,
                            FunctionRef<void(std::string_view)> on_text) {
  if (prompt.empty()) throw Error("the prompt is empty: expected at least one token");
  if (std::ssize(prompt) > context_) {
    throw Error("the prompt has {} tokens, the context has room for {}", prompt.size(), context_);
  }
  CheckTokens(prompt, model_->config());
  Generation out;
  if (!Prefill(prompt, options, out.timings)) {
    out.stop = StopReason::kCancelled;
    return out;
  }
  Decode(options, on_text, out);
  return out;
}

bool Engine::Prefill(std::span<const int32_t> prompt, const GenerateOptions& options,
                     Timings& timings) {
  const Stopwatch watch;
  const auto [cached_end, prompt_end] =
      std::mismatch(tokens_.begin(), tokens_.end(), prompt.begin(), prompt.end());
  // The last token of the prompt is always computed: its logits are needed.
  const int64_t known = std::min(cached_end - tokens_.begin(), std::ssize(prompt) - 1);
  tokens_.resize(static_cast<size_t>(known));
  std::span<const int32_t> rest = prompt.subspan(static_cast<size_t>(known));
  while (!rest.empty() && !Cancelled(options)) {
    const auto chunk =
        rest.first(std::min(rest.size(), static_cast<size_t>(activations_.max_rows)));
    Step(chunk);
    rest = rest.subspan(chunk.size());
  }
  timings.prompt_tokens = std::ssize(tokens_) - known;
  timings.prompt_seconds = watch.Seconds();
  return rest.empty();
}

void Engine::Decode(const GenerateOptions& options, FunctionRef<void(std::string_view)> on_text,
                    Generation& out) {
  Sampler sampler(options.sampling, model_->tokenizer.ids());
  Sampler::Scratch scratch;
  const int64_t prompt = std::ssize(tokens_);
  TokenStream stream(model_->tokenizer);
  const auto emit = [&](std::string text) {
    if (!text.empty()) on_text(text);
    out.text += text;
  };
  const Stopwatch watch;
  const int64_t room = context_ - std::ssize(tokens_);
  out.stop = options.max_tokens <= room ? StopReason::kMaxTokens : StopReason::kContextFull;
  while (std::ssize(out.tokens) < std::min(options.max_tokens, room)) {
    if (Cancelled(options)) {
      out.stop = StopReason::kCancelled;
      break;
    }
    // The token drawn last is computed only if another one is wanted.
    if (!out.tokens.empty()) {
      Step({&out.tokens.back(), 1});
      ++out.timings.decode_tokens;
    }
    const int32_t token = sampler.Sample(activations_.logits.span(), {tokens_, prompt}, scratch);
    if (Contains(model_->special_tokens.eos, token) || Contains(options.stop_tokens, token)) {
      out.stop = StopReason::kStopToken;
      break;
    }
    out.tokens.push_back(token);
    emit(stream.Push(token));
  }
  emit(stream.Finish());
  out.timings.decode_seconds = watch.Seconds();
}

void Engine::Step(std::span<const int32_t> tokens) {
  batch_.chunks[0] = {
      .pages = pages_, .first_position = std::ssize(tokens_), .tokens = tokens, .logits = 1};
  Forward(*model_, batch_, cache_, pool_, activations_);
  tokens_.insert(tokens_.end(), tokens.begin(), tokens.end());
}

}  // namespace fptq
