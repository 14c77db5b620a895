#include "server/server.h"

#include <fmt/format.h>

#include <algorithm>
#include <condition_variable>
#include <limits>
#include <mutex>
#include <random>
#include <utility>
#include <variant>

#include "base/error.h"
#include "kernels/dispatch.h"
#include "server/answer_runner.h"
#include "server/api.h"
#include "server/http_server.h"
#include "server/page.h"
#include "server/reply.h"
#include "server/worker.h"

namespace fptq {
namespace {

constexpr std::string_view kModelPrefix = "/v1/models/";
constexpr double kDrainCheckSeconds = 0.1;

ApiError InternalError(std::string_view what) {
  return ApiError(500, fmt::format("the server failed: {}", what), "", "internal_error");
}

}  // namespace

struct Server::State : HttpHandler {
  explicit State(ServerOptions options_in);

  std::optional<HttpResponse> Refuse(const HttpHead& head) override;
  void Handle(HttpHead head, std::string body, std::shared_ptr<HttpExchange> exchange) override;
  HttpResponse MalformedResponse(int status, std::string_view message,
                                 const std::string& client) override;

  using ReplyPtr = std::shared_ptr<Reply>;
  void GetPage(ReplyPtr reply, std::string);
  void GetOpenApi(ReplyPtr reply, std::string);
  void GetHealth(ReplyPtr reply, std::string);
  void GetReady(ReplyPtr reply, std::string);
  void GetVersion(ReplyPtr reply, std::string);
  void GetMetrics(ReplyPtr reply, std::string);
  void GetModels(ReplyPtr reply, std::string);
  void GetModel(ReplyPtr reply, std::string);
  void GetTokenizerInfo(ReplyPtr reply, std::string);
  void PostTokenize(ReplyPtr reply, std::string body);
  void PostDetokenize(ReplyPtr reply, std::string body);
  void PostCompletions(ReplyPtr reply, std::string body);
  void PostChatCompletions(ReplyPtr reply, std::string body);

  using Parse = AnswerCall (*)(const Json&, const ApiContext&, uint64_t);
  void RunAnswer(ReplyPtr reply, std::string body, Parse parse);
  void RespondFromBody(ReplyPtr reply, std::string body,
                       Json (*respond)(const Json&, const ApiContext&));

  struct Row : Endpoint {
    void (State::*handle)(ReplyPtr reply, std::string body);
  };
  static std::span<const Row> Rows();
  const Row* Find(const HttpHead& head) const;
  std::optional<ApiError> WhyNot(const HttpHead& head) const;
  std::string AllowedMethods(std::string_view path) const;
  const char* Status() const;
  Json ModelJson(const std::string& name) const;
  std::string RandomId();
  void CheckDrained();

  const ServerOptions options;
  Metrics metrics;
  ReplyContext replies;
  HttpServer http;
  Worker worker;
  AnswerRunner runner;

  // Of the I/O thread, once it has started.
  Service* service = nullptr;
  ApiContext api;
  int64_t created = 0;
  bool draining = false;
  std::mt19937_64 random;

  std::mutex mutex;
  std::condition_variable over_changed;
  bool over = false;  // nothing is left to wait for
};

Server::State::State(ServerOptions options_in)
    : options(std::move(options_in)),
      metrics(options.version, Kernels().name),
      replies{options.access, metrics, options.log},
      http(options.host, options.port, options.http, *this),
      runner(http, worker, metrics, "fptq-" + options.version),
      random(std::random_device{}()) {
  http.PostEach(kDrainCheckSeconds, [this] { CheckDrained(); });
  http.Start();
}

std::span<const Server::State::Row> Server::State::Rows() {
  static constexpr Row kRows[] = {
      {{"GET", "/", true, false}, &State::GetPage},
      {{"GET", "/openapi.json", true, false}, &State::GetOpenApi},
      {{"GET", "/health", true, false}, &State::GetHealth},
      {{"GET", "/ready", true, false}, &State::GetReady},
      {{"GET", "/version", true, false}, &State::GetVersion},
      {{"GET", "/metrics", false, false}, &State::GetMetrics},
      {{"GET", "/v1/models", false, true}, &State::GetModels},
      {{"GET", "/v1/models/{model}", false, true}, &State::GetModel},
      {{"GET", "/tokenizer_info", false, true}, &State::GetTokenizerInfo},
      {{"POST", "/tokenize", false, true}, &State::PostTokenize},
      {{"POST", "/detokenize", false, true}, &State::PostDetokenize},
      {{"POST", "/v1/completions", false, true}, &State::PostCompletions},
      {{"POST", "/v1/chat/completions", false, true}, &State::PostChatCompletions},
  };
  return kRows;
}

static bool PathMatches(std::string_view row, std::string_view path) {
  if (row.ends_with("/{model}")) {
    return path.starts_with(kModelPrefix) && path.size() > kModelPrefix.size();
  }
  return row == path;
}

const Server::State::Row* Server::State::Find(const HttpHead& head) const {
  const std::string_view method = head.method == "HEAD" ? "GET" : std::string_view(head.method);
  for (const Row& row : Rows()) {
    if (PathMatches(row.path, head.path) && row.method == method) return &row;
  }
  return nullptr;
}

std::string Server::State::AllowedMethods(std::string_view path) const {
  std::string methods;
  for (const Row& row : Rows()) {
    if (!PathMatches(row.path, path)) continue;
    methods += fmt::format("{}{}", methods.empty() ? "" : ", ", row.method);
    if (row.method == "GET") methods += ", HEAD";
  }
  if (!methods.empty() && !options.access.cors_origins.empty()) methods += ", OPTIONS";
  return methods;
}

std::optional<ApiError> Server::State::WhyNot(const HttpHead& head) const {
  if (AllowedMethods(head.path).empty()) {
    return ApiError(404, "there is nothing at this path; see /openapi.json", "", "not_found");
  }
  const Row* row = Find(head);
  if (row == nullptr) {
    return ApiError(405, "this path has no such method", "", "method_not_allowed");
  }
  if (row->open) return std::nullopt;
  if (!OriginMayAsk(head, options.access)) {
    return ApiError(403, "pages of other servers may not ask; see --cors", "", "origin_refused");
  }
  if (!options.access.api_keys.empty() && !HasKey(head.authorization, options.access.api_keys)) {
    return ApiError(401, "expected 'Authorization: Bearer KEY' with a key of this server", "",
                    "invalid_api_key");
  }
  if (row->needs_model && draining) {
    return ApiError(503, "the server is shutting down", "", "draining");
  }
  if (row->needs_model && service == nullptr) {
    return ApiError(503, "the model is being loaded", "", "loading");
  }
  return std::nullopt;
}

std::optional<HttpResponse> Server::State::Refuse(const HttpHead& head) {
  const std::string methods = AllowedMethods(head.path);
  if (head.method == "OPTIONS" && !methods.empty() && !options.access.cors_origins.empty()) {
    return PreflightResponse(head, options.access, methods);
  }
  const auto error = WhyNot(head);
  if (!error) return std::nullopt;
  HttpResponse response = ErrorResponse(*error);
  if (error->status() == 405) response.headers.emplace_back("Allow", methods);
  for (auto& header : CorsHeaders(head, options.access)) {
    response.headers.push_back(std::move(header));
  }
  const Row* row = Find(head);
  metrics.CountResponse(row != nullptr ? row->path : "other", error->status());
  LogResponse(replies, head, error->status(), 0, error->code());
  return response;
}

HttpResponse Server::State::MalformedResponse(int status, std::string_view message,
                                              const std::string& client) {
  metrics.CountResponse("other", status);
  HttpHead head;
  head.client = client;
  LogResponse(replies, head, status, 0, message);
  return ErrorResponse(ApiError(status, message));
}

void Server::State::Handle(HttpHead head, std::string body,
                           std::shared_ptr<HttpExchange> exchange) {
  const Row* row = Find(head);
  FPTQ_CHECK(row != nullptr);  // else it was refused
  const ReplyPtr reply = Reply::Make(replies, std::move(head), row->path, std::move(exchange));
  try {
    (this->*row->handle)(reply, std::move(body));
  } catch (const std::exception& e) {
    if (!reply->finished()) reply->SendError(InternalError(e.what()));
  }
}

void Server::State::GetPage(ReplyPtr reply, std::string) {
  reply->Send({.body = std::string(PageHtml()),
               .content_type = "text/html; charset=utf-8",
               .headers = {{"Content-Security-Policy", std::string(PageSecurityPolicy())},
                           {"X-Content-Type-Options", "nosniff"},
                           {"Referrer-Policy", "no-referrer"}}});
}

void Server::State::GetOpenApi(ReplyPtr reply, std::string) {
  reply->Send({.body = std::string(OpenApiJson())});
}

void Server::State::GetHealth(ReplyPtr reply, std::string) {
  reply->SendJson({{"status", "ok"}});
}

const char* Server::State::Status() const {
  return draining ? "draining" : service == nullptr ? "loading" : "ready";
}

void Server::State::GetReady(ReplyPtr reply, std::string) {
  const bool ready = service != nullptr && !draining;
  if (ready) return reply->SendJson({{"status", Status()}});
  reply->SendError(ApiError(503, "not ready", "", Status()));
}

void Server::State::GetVersion(ReplyPtr reply, std::string) {
  reply->SendJson({{"version", options.version},
                   {"commit", options.commit},
                   {"kernels", Kernels().name}});
}

void Server::State::GetMetrics(ReplyPtr reply, std::string) {
  Metrics::Now now;
  if (service != nullptr) now.service = service->statistics();
  now.ready = service != nullptr && !draining;
  now.connections = http.connections();
  now.memory = http.budget().used();
  now.memory_limit = http.budget().limit();
  now.resident_bytes = ResidentBytes();
  reply->Send({.body = metrics.Text(now),
               .content_type = "text/plain; version=0.0.4; charset=utf-8"});
}

Json Server::State::ModelJson(const std::string& name) const {
  return {{"id", name},
          {"object", "model"},
          {"created", created},
          {"owned_by", "fptq"},
          {"root", options.model_names.front()},
          {"max_model_len", api.context}};
}

void Server::State::GetModels(ReplyPtr reply, std::string) {
  Json models = Json::array();
  for (const std::string& name : options.model_names) models.push_back(ModelJson(name));
  reply->SendJson({{"object", "list"}, {"data", std::move(models)}});
}

void Server::State::GetModel(ReplyPtr reply, std::string) {
  const std::string name = reply->head().path.substr(kModelPrefix.size());
  try {
    CheckModelName(name, api);
    reply->SendJson(ModelJson(name));
  } catch (const ApiError& e) {
    reply->SendError(e);
  }
}

// What programs that count tokens themselves ask for, as vLLM answers it.
void Server::State::GetTokenizerInfo(ReplyPtr reply, std::string) {
  const Model& model = service->model();
  const Json& special = model.chat_templates.special_tokens;
  const auto text = [&](const char* name, int32_t token) -> Json {
    if (special.contains(name)) return special[name];
    if (token < 0) return nullptr;
    return std::string(model.tokenizer.TokenBytes(token));
  };
  const SpecialTokens& tokens = model.special_tokens;
  const auto chat_template = model.chat_templates.texts.find("default");
  reply->SendJson(
      {{"tokenizer_class", "PreTrainedTokenizerFast"},
       {"bos_token", text("bos_token", tokens.bos)},
       {"eos_token", text("eos_token", tokens.eos.empty() ? -1 : tokens.eos.front())},
       {"pad_token", text("pad_token", -1)},
       {"chat_template", chat_template == model.chat_templates.texts.end()
                             ? Json(nullptr)
                             : Json(chat_template->second)}});
}

void Server::State::PostTokenize(ReplyPtr reply, std::string body) {
  RespondFromBody(std::move(reply), std::move(body), Tokenize);
}
void Server::State::PostDetokenize(ReplyPtr reply, std::string body) {
  RespondFromBody(std::move(reply), std::move(body), Detokenize);
}
void Server::State::PostCompletions(ReplyPtr reply, std::string body) {
  RunAnswer(std::move(reply), std::move(body), ParseCompletion);
}
void Server::State::PostChatCompletions(ReplyPtr reply, std::string body) {
  RunAnswer(std::move(reply), std::move(body), ParseChat);
}

// What a function of the body gives, or why it gives nothing.
template <typename Result, typename F>
static std::variant<Result, ApiError> Try(F&& f) {
  try {
    return f();
  } catch (const ApiError& e) {
    return e;
  } catch (const Error& e) {
    return ApiError(400, e.what());
  } catch (const std::bad_alloc&) {
    return ApiError(503, "the server has no memory left for this request", "", "overloaded");
  } catch (const std::exception& e) {
    return InternalError(e.what());
  }
}

// Bodies are parsed and encoded by the worker, one after the other: so the memory that one takes is
// taken once, and streams go on meanwhile.
void Server::State::RunAnswer(ReplyPtr reply, std::string body, Parse parse) {
  worker.Post([this, reply = std::move(reply), body = std::move(body), parse,
               seed = random()]() mutable {
    auto result = Try<AnswerCall>([&] { return parse(ParseBody(body), api, seed); });
    http.Post([this, reply = std::move(reply), result = std::move(result)]() mutable {
      if (const auto* error = std::get_if<ApiError>(&result)) return reply->SendError(*error);
      runner.Run(*service, std::get<AnswerCall>(std::move(result)), RandomId(), std::move(reply));
    });
  });
}

void Server::State::RespondFromBody(ReplyPtr reply, std::string body,
                                    Json (*respond)(const Json&, const ApiContext&)) {
  worker.Post([this, reply = std::move(reply), body = std::move(body), respond]() mutable {
    auto result = Try<Json>([&] { return respond(ParseBody(body), api); });
    http.Post([reply = std::move(reply), result = std::move(result)] {
      if (const auto* error = std::get_if<ApiError>(&result)) return reply->SendError(*error);
      reply->SendJson(std::get<Json>(result));
    });
  });
}

std::string Server::State::RandomId() { return fmt::format("{:016x}{:016x}", random(), random()); }

void Server::State::CheckDrained() {
  if (!draining || replies.open > 0 || http.answering()) return;
  {
    const std::lock_guard lock(mutex);
    over = true;
  }
  over_changed.notify_all();
}

Server::Server(ServerOptions options) : state_(std::make_unique<State>(std::move(options))) {}
Server::~Server() { Stop(); }

const std::string& Server::host() const { return state_->http.host(); }
uint16_t Server::port() const { return state_->http.port(); }

void Server::Serve(Service& service, const ChatFormat* chat_format) {
  State& s = *state_;
  s.http.Post([&s, &service, chat_format] {
    const Model& model = service.model();
    s.api.tokenizer = &model.tokenizer;
    s.api.chat_format = chat_format;
    if (chat_format != nullptr && chat_format->end_of_turn()) {
      s.api.chat_stop_tokens.push_back(*chat_format->end_of_turn());
    }
    for (const int32_t token : EndOfTurnTokens(model.tokenizer)) {
      s.api.chat_stop_tokens.push_back(token);
    }
    s.api.context = service.context();
    s.api.model_names = s.options.model_names;
    s.api.max_sequences = s.options.max_request_sequences;
    s.api.max_seconds = s.options.max_request_seconds;
    s.created = static_cast<int64_t>(std::time(nullptr));
    s.service = &service;
  });
}

void Server::Drain() {
  State& s = *state_;
  s.http.Post([&s] {
    if (std::exchange(s.draining, true)) return;
    if (s.service != nullptr) s.service->StopTaking();
    s.http.Drain();
  });
}

void Server::Wait() {
  std::unique_lock lock(state_->mutex);
  state_->over_changed.wait(lock, [this] { return state_->over; });
}

void Server::Stop() {
  state_->http.Stop();
  state_->worker.Stop();
  {
    const std::lock_guard lock(state_->mutex);
    state_->over = true;
  }
  state_->over_changed.notify_all();
}

std::vector<Endpoint> Server::Endpoints() {
  std::vector<Endpoint> result;
  for (const auto& row : State::Rows()) result.push_back(row);
  return result;
}

}  // namespace fptq
