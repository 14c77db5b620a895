#include "fptq/llm.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <iterator>
#include <mutex>
#include <utility>

#include "api/call.h"
#include "base/json.h"
#include "engine/service.h"
#include "model/model.h"
#include "text/chat_format.h"

namespace fptq {
namespace {

constexpr int64_t kDefaultContext = 8192;
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
struct Stream::State {
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

struct LLM::State {
  ThreadPool pool;
  std::shared_ptr<const Model> model;
  std::shared_ptr<Service> service;  // goes before the model and the threads
  std::optional<ChatFormat> format;
  std::string no_format;  // why there is none
  ModelInfo info;

  explicit State(int threads) : pool(threads) {}
  void Describe();
  void Start(const LlmOptions& options);
  const ChatFormat& Format() const;  // Error if there is none
};

// Hands what comes to the stream.
class Stream::Receiver : public Sink {
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
    : state_(AsApi([&] {
        auto state = std::make_unique<State>(ThreadCount(options.threads));
        state->model = LoadModel({model, options.pre_tokenizer}, state->pool,
                                 options.int8_weights ? FloatForm::kInt8 : FloatForm::kFloat32);
        state->Describe();
        state->Start(options);
        return state;
      })) {}
LLM::LLM(LLM&&) noexcept = default;
LLM& LLM::operator=(LLM&&) noexcept = default;
LLM::~LLM() = default;

void LLM::State::Describe() {
  const ModelConfig& config = model->config();
  info = {.architecture = std::string(model->source.arch().name),
          .quantized = model->quantized(),
          .layers = config.layers,
          .hidden = config.hidden,
          .vocab = config.vocab,
          .positions = config.max_positions,
          .eos_tokens = model->special_tokens.eos,
          .start_token = model->special_tokens.start,
          .weight_bytes = model->WeightBytes(),
          .warnings = model->warnings};
  try {
    format.emplace(model->chat_templates, model->tokenizer);
  } catch (const Error& e) {
    no_format = e.what();
  }
}

void LLM::State::Start(const LlmOptions& options) {
  const int64_t positions = model->config().max_positions;
  if (options.context < 0 || options.context > positions) {
    throw Error("context: expected 0 to {}, the positions of the model, found {}", positions,
                options.context);
  }
  const SchedulerOptions scheduler{
      .context = options.context > 0 ? options.context : std::min(kDefaultContext, positions),
      .max_sequences = options.max_sequences,
      .kv_bytes = options.kv_memory,
      .prefix_cache = options.prefix_cache};
  service = std::make_shared<Service>(model, pool, scheduler, kQueue);
}

const ModelInfo& LLM::info() const { return state_->info; }
int64_t LLM::context() const { return state_->service->context(); }

std::vector<int32_t> LLM::Encode(std::string_view text, bool special, bool prefix) const {
  return AsApi([&] {
    return state_->model->tokenizer.Encode(text, {.parse_special = special, .add_prefix = prefix});
  });
}

std::string LLM::Decode(std::span<const int32_t> tokens, bool skip_special) const {
  return AsApi([&] { return state_->model->tokenizer.Decode(tokens, skip_special); });
}

const ChatFormat& LLM::State::Format() const {
  if (!format) throw Error("{}", no_format);
  return *format;
}

std::vector<int32_t> LLM::EncodeChat(std::span<const ChatMessage> messages,
                                     bool add_generation_prompt) const {
  return AsApi([&] {
    Conversation conversation;
    conversation.add_generation_prompt = add_generation_prompt;
    for (const ChatMessage& message : messages) {
      conversation.messages.push_back({{"role", message.role}, {"content", message.content}});
    }
    return state_->Format().Encode(conversation);
  });
}

std::vector<int32_t> LLM::EncodeChat(std::string_view conversation_json) const {
  return AsApi([&] {
    const Json json = ParseJson(conversation_json, "conversation");
    const JsonFields fields(json, "conversation");
    Conversation conversation;
    for (const auto& [name, value] : json.items()) {
      if (name == "messages") {
        conversation.messages = value;
      } else if (name == "tools") {
        conversation.tools = value;
      } else if (name == "documents") {
        conversation.documents = value;
      } else if (name == "add_generation_prompt") {
        conversation.add_generation_prompt = fields.BoolOr("add_generation_prompt", true);
      } else {
        conversation.variables[name] = value;
      }
    }
    return state_->Format().Encode(conversation);
  });
}

std::vector<int32_t> LLM::chat_stop_tokens() const {
  return AsApi([&] { return state_->Format().stop_tokens(); });
}

Stream LLM::Submit(std::vector<int32_t> prompt, const SamplingParams& params) {
  return AsApi([&] {
    auto stream = std::make_shared<Stream::State>();
    const Service::Submission submission = state_->service->Submit(
        RequestOf(std::move(prompt), params), std::make_unique<Stream::Receiver>(stream));
    if (submission.refusal != Service::Refusal::kNone) {
      throw Error(ErrorKind::kResource, "too many requests wait");
    }
    stream->service = state_->service;
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
  return Submit(Encode(prompt), params).Collect();
}

Completion LLM::Chat(std::span<const ChatMessage> messages, const SamplingParams& params) {
  SamplingParams chat = params;
  std::ranges::copy(chat_stop_tokens(), std::back_inserter(chat.stop_tokens));
  return Submit(EncodeChat(messages), chat).Collect();
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

}  // namespace fptq
