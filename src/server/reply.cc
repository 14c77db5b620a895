#include "server/reply.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <ctime>

#include "base/json.h"
#include "server/answer_writer.h"

namespace fptq {
namespace {

// Of what a client sent: short, and nothing that moves the cursor.
std::string Shown(std::string_view text) {
  constexpr size_t kMost = 100;
  std::string shown(text.substr(0, kMost));
  for (char& c : shown) {
    if (c <= ' ' || c >= 0x7f) c = '?';
  }
  return shown;
}

}  // namespace

HttpResponse ErrorResponse(const ApiError& error) {
  HttpResponse response{.status = error.status(), .body = DumpJson(ErrorJson(error))};
  if (error.status() == 429) response.headers.emplace_back("Retry-After", "1");
  if (error.status() == 503) response.headers.emplace_back("Retry-After", "5");
  if (error.status() == 401) response.headers.emplace_back("WWW-Authenticate", "Bearer");
  return response;
}

void LogResponse(const ReplyContext& context, const HttpHead& head, int status, double seconds,
                 std::string_view details) {
  if (!context.log) return;
  const std::time_t now = std::time(nullptr);
  context.log(fmt::format("{:%FT%TZ} {} {} {} {} {:.3f}s{}{}", fmt::gmtime(now), head.client,
                          Shown(head.method), Shown(head.path), status, seconds,
                          details.empty() ? "" : " ", details));
}

std::shared_ptr<Reply> Reply::Make(ReplyContext& context, HttpHead head, std::string_view endpoint,
                                   std::shared_ptr<HttpExchange> exchange) {
  const std::shared_ptr<Reply> reply(
      new Reply(context, std::move(head), endpoint, std::move(exchange)));
  reply->exchange_->on_gone = [weak = std::weak_ptr(reply)] {
    const auto self = weak.lock();
    if (!self) return;
    self->abandoned_ = true;
    self->Finish(kClientGone);
    if (self->on_gone_) self->on_gone_();
  };
  return reply;
}

Reply::Reply(ReplyContext& context, HttpHead head, std::string_view endpoint,
             std::shared_ptr<HttpExchange> exchange)
    : context_(context),
      head_(std::move(head)),
      endpoint_(endpoint),
      exchange_(std::move(exchange)),
      begin_(std::chrono::steady_clock::now()) {
  ++context_.open;
}

Reply::~Reply() {
  if (!finished_) --context_.open;
}

double Reply::seconds() const {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count();
}

void Reply::Finish(int status) {
  if (finished_) return;
  finished_ = true;
  --context_.open;
  context_.metrics.CountResponse(endpoint_, status);
  // Who asks every second whether all is well need not be told of in the log when it is.
  const bool probe = head_.path == "/health" || head_.path == "/ready" || head_.path == "/metrics";
  if (probe && status == 200) return;
  LogResponse(context_, head_, status, seconds(), details_);
}

void Reply::Send(HttpResponse response) {
  if (finished_) return;
  Finish(response.status);
  for (auto& header : CorsHeaders(head_, context_.access)) {
    response.headers.push_back(std::move(header));
  }
  exchange_->Respond(std::move(response));
}

void Reply::SendJson(const Json& json, int status) {
  Send({.status = status, .body = DumpJson(json)});
}

void Reply::SendError(const ApiError& error) {
  if (!streams_) return Send(ErrorResponse(error));
  Write(ServerSentEvent(DumpJson(ErrorJson(error))));
  Write(ServerSentEvent("[DONE]"));
  EndEvents(error.status());
}

void Reply::BeginEvents() {
  streams_ = true;
  HttpResponse head{.body = {},
                    .content_type = "text/event-stream; charset=utf-8",
                    .headers = CorsHeaders(head_, context_.access)};
  head.headers.emplace_back("Cache-Control", "no-store");
  head.headers.emplace_back("X-Accel-Buffering", "no");  // proxies pass each event on at once
  exchange_->BeginStream(std::move(head));
}

void Reply::EndEvents(int status) {
  if (finished_) return;
  Finish(status);
  exchange_->EndStream();
}

}  // namespace fptq
