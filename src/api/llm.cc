#include "fptq/llm.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <iterator>
#include <mutex>
#include <utility>

#include "api/call.h"
#include "api/running_model.h"
#include "api/tokenizer_state.h"
#include "base/error.h"
#include "engine/service.h"
#include "eval/embedding.h"
#include "model/model.h"

namespace fptq {
namespace {

constexpr int64_t kQueue = int64_t{1} << 20;  // requests that wait: the caller's memory bounds them

TokenScore ScoreOf(TokenLogProbability&& given) {
  TokenScore score{.token = given.token, .log_probability = given.log_probability, .top = {}};
  for (const auto& a : given.top) score.top.push_back({a.token, a.log_probability});
  return score;
}

void Append(std::vector<TokenLogProbability>&& from, std::vector<TokenScore>& to) {
  for (TokenLogProbability& item : from) to.push_back(ScoreOf(std::move(item)));
}

std::string FinishName(FinishReason reason) {
  switch (reason) {
    case FinishReason::kStopToken:
    case FinishReason::kStopString:
      return "stop";
    case FinishReason::kMaxTokens:
    case FinishReason::kContextFull:
      return "length";
    case FinishReason::kCancelled:
    case FinishReason::kDeadline:
      return "cancelled";
    case FinishReason::kError:
      break;
  }
  return "error";
}

Request RequestOf(std::vector<int32_t> prompt, const SamplingParams& params) {
  Request request;
  request.prompt = std::move(prompt);
  request.sampling = {.temperature = params.temperature,
                      .top_k = params.top_k,
                      .top_p = params.top_p,
                      .min_p = params.min_p,
                      .repeat_penalty = params.repetition_penalty,
                      .presence_penalty = params.presence_penalty,
                      .frequency_penalty = params.frequency_penalty,
                      .seed = params.seed};
  request.max_tokens = params.max_tokens;
  request.stop_tokens = params.stop_tokens;
  request.stop_strings = params.stop;
  request.ignore_eos = params.ignore_eos;
  request.log_probabilities = params.log_probabilities.has_value();
  request.prompt_log_probabilities = params.prompt_log_probabilities;
  request.prompt_log_probabilities_begin = params.prompt_log_probabilities_begin;
  request.top_log_probabilities = params.log_probabilities.value_or(0);
  return request;
}

}  // namespace

// Filled by the engine's thread, emptied by the caller's.
struct [[gnu::visibility("hidden")]] Stream::State {
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<Delta> deltas;
  std::optional<Finish> finish;
  Completion completion;  // of what the caller has taken

  bool ready() const { return !deltas.empty() || finish; }

  std::weak_ptr<Service> service;
  Service::RequestId id = 0;

  void Cancel() {
    if (const auto running = service.lock()) running->Cancel(id);
  }
};

struct [[gnu::visibility("hidden")]] LLM::State {
  State(const std::filesystem::path& path, const LlmOptions& options)
      : running(path, options, kQueue),
        tokenizer(std::make_unique<ModelTokenizer::State>(running.model, running.model->tokenizer,
                                                          running.model->chat_templates)),
        info(Describe(*running.model)) {}

  static ModelInfo Describe(const Model& model);

  RunningModel running;
  ModelTokenizer tokenizer;
  ModelInfo info;
  // The engine's threads serve one step at a time.
  std::mutex embedding_mutex;
  std::optional<ThreadPool> embedding_pool;
};

// Hands what comes to the stream.
class [[gnu::visibility("hidden")]] Stream::Receiver : public Sink {
 public:
  explicit Receiver(std::shared_ptr<State> state) : state_(std::move(state)) {}

  void OnDelta(Delta delta) override {
    const std::lock_guard lock(state_->mutex);
    state_->deltas.push_back(std::move(delta));
    state_->changed.notify_one();
  }
  void OnFinish(const Finish& finish) override {
    const std::lock_guard lock(state_->mutex);
    state_->finish = finish;
    state_->changed.notify_one();
  }

 private:
  std::shared_ptr<State> state_;
};

Stream::Stream(std::shared_ptr<State> state) : state_(std::move(state)) {}
Stream::Stream(Stream&&) noexcept = default;
Stream& Stream::operator=(Stream&& other) noexcept {
  std::swap(state_, other.state_);
  return *this;
}
Stream::~Stream() {
  if (state_) state_->Cancel();
}
void Stream::Cancel() { state_->Cancel(); }

bool Stream::Wait(double seconds) {
  std::unique_lock lock(state_->mutex);
  return state_->changed.wait_for(lock, std::chrono::duration<double>(seconds),
                                  [&] { return state_->ready(); });
}

std::optional<Chunk> Stream::Next() {
  std::unique_lock lock(state_->mutex);
  state_->changed.wait(lock, [&] { return state_->ready(); });
  Completion& all = state_->completion;
  if (state_->deltas.empty()) {
    const Finish& finish = *state_->finish;
    if (finish.reason == FinishReason::kError) throw Error(ErrorKind::kInput, finish.error);
    all.finish_reason = FinishName(finish.reason);
    all.prompt_tokens = finish.prompt_tokens;
    all.cached_tokens = finish.cached_tokens;
    return std::nullopt;
  }
  Delta delta = std::move(state_->deltas.front());
  state_->deltas.pop_front();
  lock.unlock();
  Chunk chunk{.text = std::move(delta.text), .tokens = std::move(delta.tokens), .scores = {}};
  Append(std::move(delta.log_probabilities), chunk.scores);
  Append(std::move(delta.prompt_log_probabilities), all.prompt_scores);
  all.text += chunk.text;
  std::ranges::copy(chunk.tokens, std::back_inserter(all.tokens));
  std::ranges::copy(chunk.scores, std::back_inserter(all.scores));
  return chunk;
}

Completion Stream::Collect() {
  while (Next()) {
  }
  return std::move(state_->completion);
}

LLM::LLM(const std::filesystem::path& model, const LlmOptions& options)
    : state_(AsApi([&] { return std::make_unique<State>(model, options); })) {}
LLM::LLM(LLM&&) noexcept = default;
LLM& LLM::operator=(LLM&&) noexcept = default;
LLM::~LLM() = default;

ModelInfo LLM::State::Describe(const Model& model) {
  const ModelConfig& config = model.config();
  return {.architecture = std::string(model.source.arch().name),
          .quantized = model.quantized(),
          .layers = config.layers,
          .hidden = config.hidden,
          .vocab = config.vocab,
          .positions = config.max_positions,
          .eos_tokens = model.special_tokens.eos,
          .start_token = model.special_tokens.start,
          .weight_bytes = model.WeightBytes(),
          .warnings = model.warnings};
}

const ModelInfo& LLM::info() const { return state_->info; }
int64_t LLM::context() const { return state_->running.service->context(); }

const ModelTokenizer& LLM::tokenizer() const { return state_->tokenizer; }

Stream LLM::Submit(std::vector<int32_t> prompt, const SamplingParams& params) {
  return AsApi([&] {
    auto stream = std::make_shared<Stream::State>();
    const Service::Submission submission = state_->running.service->Submit(
        RequestOf(std::move(prompt), params), std::make_unique<Stream::Receiver>(stream));
    if (submission.refusal != Service::Refusal::kNone) {
      throw Error(ErrorKind::kResource, "too many requests wait");
    }
    stream->service = state_->running.service;
    stream->id = submission.id;
    return Stream(std::move(stream));
  });
}

std::vector<Completion> LLM::Generate(std::span<const std::vector<int32_t>> prompts,
                                      const SamplingParams& params) {
  std::vector<Stream> streams;
  for (const std::vector<int32_t>& prompt : prompts) streams.push_back(Submit(prompt, params));
  std::vector<Completion> answers;
  for (Stream& stream : streams) answers.push_back(stream.Collect());
  return answers;
}

Completion LLM::Generate(std::string_view prompt, const SamplingParams& params) {
  return Submit(tokenizer().Encode(prompt), params).Collect();
}

Completion LLM::Chat(std::span<const ChatMessage> messages, const SamplingParams& params) {
  SamplingParams chat = params;
  std::ranges::copy(tokenizer().chat_stop_tokens(), std::back_inserter(chat.stop_tokens));
  return Submit(tokenizer().EncodeChat(messages), chat).Collect();
}

std::vector<std::vector<double>> LLM::Score(std::span<const std::vector<int32_t>> sequences) {
  SamplingParams params;
  params.max_tokens = 0;
  params.prompt_log_probabilities = true;
  std::vector<std::vector<double>> scores;
  for (Completion& answer : Generate(sequences, params)) {
    scores.emplace_back();
    for (const TokenScore& score : answer.prompt_scores) {
      scores.back().push_back(score.log_probability);
    }
  }
  return scores;
}

std::vector<std::vector<float>> LLM::Embed(std::span<const std::vector<int32_t>> sequences,
                                           Pooling pooling, const ProgressCallback& progress) {
  return AsApi([&] {
    const std::lock_guard lock(state_->embedding_mutex);
    if (!state_->embedding_pool) state_->embedding_pool.emplace(state_->running.pool.threads());
    const auto which = pooling == Pooling::kMean ? EmbeddingOf::kMean : EmbeddingOf::kLastToken;
    return EmbedSequences(*state_->running.model, sequences, which, *state_->embedding_pool,
                          ProgressOf(progress));
  });
}

}  // namespace fptq
