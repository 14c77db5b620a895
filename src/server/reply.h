// A request that is answered, and the way back to its client.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "server/access.h"
#include "server/api_error.h"
#include "server/http.h"
#include "server/metrics.h"

namespace fptq {

// A client that went away counts as this status, as other servers have it.
inline constexpr int kClientGone = 499;

// What all replies of a server share.
struct ReplyContext {
  const AccessOptions& access;
  Metrics& metrics;
  std::function<void(std::string_view)> log;  // takes a line without its end
  int64_t open = 0;                           // replies that are not finished
};

// Of the I/O thread. Each response is counted and logged; no text of a request is.
class Reply : public std::enable_shared_from_this<Reply> {
 public:
  // `endpoint` is what metrics call it.
  static std::shared_ptr<Reply> Make(ReplyContext& context, HttpHead head,
                                     std::string_view endpoint,
                                     std::shared_ptr<HttpExchange> exchange);
  ~Reply();

  const HttpHead& head() const { return head_; }
  double seconds() const;  // since the request was there
  std::chrono::steady_clock::time_point begin() const { return begin_; }
  bool gone() const { return exchange_->gone(); }
  bool finished() const { return finished_; }
  // That the client went away, for other threads: work for it may be left out.
  bool abandoned() const { return abandoned_; }

  // Either one of these, once,
  void Send(HttpResponse response);
  void SendJson(const Json& json, int status = 200);
  void SendError(const ApiError& error);
  // or a stream of events, in which an error may come too.
  void BeginEvents();
  bool writable() const { return exchange_->writable(); }
  void Write(std::string_view events) { exchange_->Write(events); }
  void EndEvents(int status = 200);  // as it is counted

  void OnGone(std::function<void()> f) { on_gone_ = std::move(f); }
  void OnWritable(std::function<void()> f) { exchange_->on_writable = std::move(f); }
  // Numbers for the line of the log.
  void Note(std::string details) { details_ = std::move(details); }

 private:
  Reply(ReplyContext& context, HttpHead head, std::string_view endpoint,
        std::shared_ptr<HttpExchange> exchange);
  void Finish(int status);

  ReplyContext& context_;
  HttpHead head_;
  std::string_view endpoint_;
  std::shared_ptr<HttpExchange> exchange_;
  std::chrono::steady_clock::time_point begin_;
  std::function<void()> on_gone_;
  std::string details_;
  bool finished_ = false, streams_ = false;
  std::atomic<bool> abandoned_ = false;
};

// The response that an error is; with Retry-After if trying again may help.
HttpResponse ErrorResponse(const ApiError& error);

// A line of the log.
void LogResponse(const ReplyContext& context, const HttpHead& head, int status, double seconds,
                 std::string_view details);

}  // namespace fptq
