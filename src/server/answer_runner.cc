#include "server/answer_runner.h"

#include <fmt/format.h>

#include <chrono>
#include <ctime>
#include <map>
#include <mutex>
#include <optional>
#include <utility>
#include <variant>
#include <vector>

#include "base/error.h"
#include "server/answer_writer.h"

namespace fptq {
namespace {

using Clock = std::chrono::steady_clock;

double SecondsBetween(Clock::time_point a, Clock::time_point b) {
  return std::chrono::duration<double>(b - a).count();
}

// Log-probabilities of one call, alternatives counted: some 60 bytes each as text.
constexpr int64_t kMostCells = int64_t{1} << 20;

struct News {
  uint64_t call = 0;
  int64_t choice = 0;
  Clock::time_point time;
  std::variant<Delta, Finish> what;
};

// Where the engine's thread leaves news. It knows calls by their numbers: whatever it held would be
// freed on its thread.
class Box {
 public:
  explicit Box(HttpServer& http, std::function<void()> empty)
      : http_(http), empty_(std::move(empty)) {}

  // The I/O thread is called once, however much comes until it has time.
  void Put(News news) {
    bool first = false;
    {
      const std::lock_guard lock(mutex_);
      first = news_.empty();
      news_.push_back(std::move(news));
    }
    if (first) http_.Post(empty_);
  }
  std::vector<News> Take() {
    const std::lock_guard lock(mutex_);
    return std::exchange(news_, {});
  }

 private:
  HttpServer& http_;
  std::function<void()> empty_;
  std::mutex mutex_;
  std::vector<News> news_;
};

class BoxSink : public Sink {
 public:
  BoxSink(Box& box, uint64_t call, int64_t choice) : box_(box), call_(call), choice_(choice) {}
  void OnDelta(Delta delta) override { box_.Put({call_, choice_, Clock::now(), std::move(delta)}); }
  void OnFinish(const Finish& finish) override { box_.Put({call_, choice_, Clock::now(), finish}); }

 private:
  Box& box_;
  uint64_t call_;
  int64_t choice_;
};

struct Call {
  Call(uint64_t number_in, AnswerWriter answer_in, std::shared_ptr<Reply> reply_in,
       Service& service_in, Budget& budget)
      : number(number_in),
        answer(std::move(answer_in)),
        reply(std::move(reply_in)),
        service(service_in),
        share(budget) {}

  uint64_t number = 0;
  AnswerWriter answer;
  std::shared_ptr<Reply> reply;
  Service& service;
  Budget::Share share;
  int64_t request_bytes = 0;  // what the engine holds of it
  bool stream = false;
  bool changed = false;  // since the client was told
  std::vector<Service::RequestId> ids;
  std::vector<std::optional<Clock::time_point>> last_token;  // of each choice
  int64_t ends = 0;
  int64_t prompt_tokens = 0, cached_tokens = 0, completion_tokens = 0;
};

}  // namespace

struct AnswerRunner::State {
  State(HttpServer& http_in, Worker& worker_in, Metrics& metrics_in, std::string fingerprint_in)
      : http(http_in),
        worker(worker_in),
        metrics(metrics_in),
        fingerprint(std::move(fingerprint_in)),
        box(http_in, [this] { Empty(); }) {}

  void Run(Service& service, AnswerCall call, std::string id, std::shared_ptr<Reply> reply);
  bool Submit(Call& call, const AnswerCall& asked);
  void Empty();
  void Take(Call& call, News news);
  void ObserveTokens(Call& call, const News& news, int64_t count);
  void Tell(const std::shared_ptr<Call>& call);
  void Respond(std::shared_ptr<Call> call);
  void Cancel(Call& call);
  void ForgetIfOver(const Call& call);
  void Fail(Call& call, const ApiError& error);

  HttpServer& http;
  Worker& worker;
  Metrics& metrics;
  std::string fingerprint;
  Box box;
  std::map<uint64_t, std::shared_ptr<Call>> calls;  // that are not over
  uint64_t last_number = 0;
};

AnswerRunner::AnswerRunner(HttpServer& http, Worker& worker, Metrics& metrics,
                           std::string fingerprint)
    : state_(std::make_unique<State>(http, worker, metrics, std::move(fingerprint))) {}
AnswerRunner::~AnswerRunner() = default;

void AnswerRunner::Run(Service& service, AnswerCall call, std::string id,
                       std::shared_ptr<Reply> reply) {
  state_->Run(service, std::move(call), std::move(id), std::move(reply));
}

// The log-probabilities that the answer may come to have.
static int64_t CountCells(const AnswerCall& asked, int64_t context) {
  if (!asked.log_probabilities) return 0;
  int64_t tokens = 0;
  for (const auto& prompt : asked.prompts) {
    const int64_t room = context - std::ssize(prompt);
    tokens += (asked.echo ? std::ssize(prompt) : 0) + std::min(asked.request.max_tokens, room);
  }
  return tokens * asked.n * (1 + asked.request.top_log_probabilities);
}

void AnswerRunner::State::Run(Service& service, AnswerCall asked, std::string id,
                              std::shared_ptr<Reply> reply) {
  if (reply->gone()) return;
  if (CountCells(asked, service.context()) > kMostCells) {
    return reply->SendError(
        ApiError(400,
                 fmt::format("'logprobs': the answer could have {} log-probabilities, and the most "
                             "are {}; ask for fewer of them, fewer answers or fewer tokens",
                             CountCells(asked, service.context()), kMostCells),
                 "logprobs", "invalid_value"));
  }
  if (asked.timeout_seconds > 0) {
    asked.request.deadline =
        reply->begin() + std::chrono::duration_cast<Clock::duration>(
                             std::chrono::duration<double>(asked.timeout_seconds));
  }
  AnswerWriter::Names names{std::move(id), static_cast<int64_t>(std::time(nullptr)), fingerprint};
  const auto call = std::make_shared<Call>(
      ++last_number, AnswerWriter(asked, std::move(names), service.model().tokenizer),
      std::move(reply), service, http.budget());
  call->stream = asked.stream;
  call->last_token.resize(static_cast<size_t>(asked.choices()));
  if (!Submit(*call, asked)) return;
  calls[call->number] = call;
  call->reply->OnGone([this, weak = std::weak_ptr(call)] {
    const auto gone = weak.lock();
    if (!gone) return;
    Cancel(*gone);
    ForgetIfOver(*gone);
  });
  if (!call->stream) return;
  call->reply->OnWritable([this, weak = std::weak_ptr(call)] {
    if (const auto ready = weak.lock()) Tell(ready);
  });
  call->reply->BeginEvents();
}

// False if the engine did not take all of it; then the client has been told, and nothing goes on.
bool AnswerRunner::State::Submit(Call& call, const AnswerCall& asked) {
  for (const auto& prompt : asked.prompts) {
    call.request_bytes +=
        asked.n *
        static_cast<int64_t>(sizeof(Request) + prompt.size() * sizeof(int32_t) +
                             asked.request.sampling.logit_bias.size() * sizeof(LogitBias));
  }
  const ApiError no_memory(503, "the server has no memory left for this request", "", "overloaded");
  if (!call.share.Set(call.request_bytes + call.answer.held_bytes())) {
    call.reply->SendError(no_memory);
    return false;
  }
  try {
    for (int64_t i = 0; i < asked.choices(); ++i) {
      const auto submission = call.service.Submit(asked.ChoiceRequest(i),
                                                  std::make_unique<BoxSink>(box, call.number, i));
      switch (submission.refusal) {
        case Service::Refusal::kNone:
          call.ids.push_back(submission.id);
          continue;
        case Service::Refusal::kQueueFull:
          throw ApiError(429, "the queue is full; try again later", "", "queue_full");
        case Service::Refusal::kDraining:
          throw ApiError(503, "the server is shutting down", "", "draining");
      }
    }
    return true;
  } catch (const ApiError& e) {
    Fail(call, e);
  } catch (const Error& e) {
    Fail(call, ApiError(400, e.what(), "", "invalid_value"));
  }
  return false;
}

void AnswerRunner::State::Empty() {
  std::vector<std::shared_ptr<Call>> changed;
  for (News& news : box.Take()) {
    const auto it = calls.find(news.call);
    if (it == calls.end()) continue;  // of a call that was refused halfway
    const std::shared_ptr<Call> call = it->second;
    if (!std::exchange(call->changed, true)) changed.push_back(call);
    Take(*call, std::move(news));
  }
  for (const auto& call : changed) {
    call->changed = false;
    Tell(call);
  }
}

void AnswerRunner::State::Take(Call& call, News news) {
  if (const auto* finish = std::get_if<Finish>(&news.what)) {
    metrics.ObserveFinish(*finish);
    call.prompt_tokens += finish->prompt_tokens;
    call.cached_tokens += finish->cached_tokens;
    call.completion_tokens += finish->completion_tokens;
    call.answer.End(news.choice, *finish);
    if (!call.answer.ended()) return;
    call.reply->Note(fmt::format("prompt={} cached={} completion={}", call.prompt_tokens,
                                 call.cached_tokens, call.completion_tokens));
    return;
  }
  Delta& delta = std::get<Delta>(news.what);
  ObserveTokens(call, news, std::ssize(delta.tokens));
  if (call.reply->finished()) return;
  call.answer.Add(news.choice, std::move(delta));
  if (!call.share.Set(call.request_bytes + call.answer.held_bytes())) {
    Fail(call, ApiError(503, "the server has no memory left for this answer", "", "overloaded"));
  }
}

void AnswerRunner::State::ObserveTokens(Call& call, const News& news, int64_t count) {
  if (count == 0) return;
  auto& last = call.last_token[static_cast<size_t>(news.choice)];
  if (!last) {
    metrics.ObserveFirstToken(SecondsBetween(call.reply->begin(), news.time));
  } else {
    for (int64_t i = 0; i < count; ++i) {
      metrics.ObserveToken(SecondsBetween(*last, news.time) / static_cast<double>(count));
    }
  }
  last = news.time;
}

// Gives the client what it can take now. While it takes nothing, what comes is put together, so a
// slow reader costs little more than the text.
void AnswerRunner::State::Tell(const std::shared_ptr<Call>& call) {
  Reply& reply = *call->reply;
  if (reply.finished()) return ForgetIfOver(*call);
  if (const std::string& error = call->answer.error(); !error.empty()) {
    return Fail(*call, error == "cancelled" ? ApiError(503, "the server ends", "", "draining")
                                            : ApiError(500, error, "", "engine_error"));
  }
  if (!call->stream) {
    if (call->answer.ended()) Respond(call);
    return;
  }
  if (!reply.writable()) return;
  reply.Write(call->answer.TakeEvents());
  call->share.Set(call->request_bytes + call->answer.held_bytes());
  if (!call->answer.all_told() || reply.finished()) return;
  metrics.ObserveRequest(reply.seconds());
  reply.EndEvents();
  ForgetIfOver(*call);
}

void AnswerRunner::State::Respond(std::shared_ptr<Call> call) {
  calls.erase(call->number);
  worker.Post([this, call = std::move(call)]() mutable {
    std::string text, error;
    try {
      text = call->answer.TakeResponse();
    } catch (const std::exception& e) {
      error = e.what();
    }
    http.Post([this, call = std::move(call), text = std::move(text), error]() mutable {
      call->share.Set(0);
      if (!error.empty()) return call->reply->SendError(ApiError(500, error));
      metrics.ObserveRequest(call->reply->seconds());
      call->reply->Send({.body = std::move(text)});
    });
  });
}

void AnswerRunner::State::Cancel(Call& call) {
  for (const Service::RequestId id : call.ids) call.service.Cancel(id);
}

// The engine is done with it, and the client has all that it will get.
void AnswerRunner::State::ForgetIfOver(const Call& call) {
  if (call.answer.ended() && call.reply->finished()) calls.erase(call.number);
}

void AnswerRunner::State::Fail(Call& call, const ApiError& error) {
  Cancel(call);
  call.reply->SendError(error);
  ForgetIfOver(call);
}

}  // namespace fptq
