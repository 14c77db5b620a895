// The inside of Server: server.cc has its life and who may ask what, endpoints.cc what is answered.
#pragma once

#include <condition_variable>
#include <mutex>
#include <optional>
#include <random>
#include <span>

#include "server/answer_runner.h"
#include "server/api.h"
#include "server/http_server.h"
#include "server/metrics.h"
#include "server/reply.h"
#include "server/server.h"
#include "server/worker.h"

namespace fptq {

// Model names are paths below this one.
inline constexpr std::string_view kModelPrefix = "/v1/models/";

ApiError InternalError(std::string_view what);

struct Server::State : HttpHandler {
  explicit State(ServerOptions options_in);

  std::optional<HttpResponse> Refuse(const HttpHead& head) override;
  void Handle(HttpHead head, std::string body, std::shared_ptr<HttpExchange> exchange) override;
  HttpResponse MalformedResponse(int status, std::string_view message,
                                 const std::string& client) override;
  void OnFault(std::string_view what) override;

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
  template <typename Result>
  void Work(ReplyPtr reply, std::string body, std::function<Result(const Json&)> read,
            std::function<void(ReplyPtr, Result)> use);
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

}  // namespace fptq
