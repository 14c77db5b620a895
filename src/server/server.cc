#include "server/server.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <ctime>
#include <utility>

#include "base/error.h"
#include "kernels/dispatch.h"
#include "server/server_state.h"

namespace fptq {
namespace {

constexpr double kDrainCheckSeconds = 0.1;

}  // namespace

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
    return ApiError(
        404,
        "there is nothing at this path; OpenAI's begin with /v1, /openapi.json has all of them", "",
        "not_found");
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

void Server::State::OnFault(std::string_view what) {
  if (options.log) options.log(fmt::format("fault: {}", what));
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
std::string Server::url() const {
  const bool v6 = host().find(':') != std::string::npos;
  return fmt::format("http://{}{}{}:{}", v6 ? "[" : "", host(), v6 ? "]" : "", port());
}

void Server::Serve(Service& service, const ChatFormat* chat_format) {
  State& s = *state_;
  s.http.Post([&s, &service, chat_format] {
    const Model& model = service.model();
    s.api.tokenizer = &model.tokenizer;
    s.api.chat_format = chat_format;
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

bool Server::WaitFor(double seconds) {
  std::unique_lock lock(state_->mutex);
  return state_->over_changed.wait_for(lock, std::chrono::duration<double>(seconds),
                                       [this] { return state_->over; });
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
