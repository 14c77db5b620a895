// HTTP/1.1 as the server's endpoints see it.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fptq {

struct HttpLimits {
  size_t header_bytes = 16 << 10;
  size_t body_bytes = 4 << 20;
  int64_t connections = 4096;
  // Bodies, answers and what is not sent yet, of all clients together.
  int64_t memory = int64_t{512} << 20;
  using Milliseconds = std::chrono::milliseconds;
  Milliseconds header_timeout{10'000};  // from the first byte of a header to its last
  Milliseconds body_timeout{60'000};    // for all of a body
  Milliseconds idle_timeout{75'000};    // between requests
  Milliseconds write_timeout{30'000};   // without the client taking a single byte
};

// The first line and those fields of a header that are looked at.
struct HttpHead {
  std::string method, path, query;  // the path is decoded; the query is not
  std::string authorization, origin, host;
  std::string requested_method, requested_headers;  // of a CORS preflight
  std::string client;                               // its address, for the log
};

struct HttpResponse {
  int status = 200;
  std::string body;
  std::string content_type = "application/json";
  std::vector<std::pair<std::string, std::string>> headers = {};
};

// A request that waits for its response. To be used by the I/O thread alone. Once the client is
// gone, calls do nothing.
class HttpExchange {
 public:
  virtual ~HttpExchange() = default;

  // Either the whole response, once; or a stream of unknown length: its head (the body is its
  // beginning), its parts and its end.
  virtual void Respond(HttpResponse response) = 0;
  virtual void BeginStream(HttpResponse head) = 0;
  virtual void Write(std::string_view part) = 0;
  virtual void EndStream() = 0;
  // Breaks the connection off.
  virtual void Abort() = 0;

  // Nothing waits to be sent. What a stream has to say while this is false had better wait, too.
  virtual bool writable() const = 0;
  virtual bool gone() const = 0;

  std::function<void()> on_writable;  // of a stream: all that was written is sent
  std::function<void()> on_gone;      // the client went away before the response ended
};

// What answers requests. Called by the I/O thread, which must not wait.
class HttpHandler {
 public:
  virtual ~HttpHandler() = default;

  // Looks at the header alone; a response ends the matter before the body is read.
  virtual std::optional<HttpResponse> Refuse(const HttpHead& head) = 0;
  virtual void Handle(HttpHead head, std::string body, std::shared_ptr<HttpExchange> exchange) = 0;
  // The response to what was no request, or too large, or too slow.
  virtual HttpResponse MalformedResponse(int status, std::string_view message,
                                         const std::string& client) = 0;
  // An exception came to the I/O thread, which goes on. It is a fault of ours, or memory has run
  // out.
  virtual void OnFault(std::string_view what) = 0;
};

std::string_view HttpReason(int status);

// Text of a URL's path with %XX replaced; nullopt if one is broken.
std::optional<std::string> DecodePath(std::string_view path);

// The lines before the body. `length`: that of the body; nothing: it comes in chunks, or, if
// `chunked` is false (HTTP/1.0), ends with the connection.
std::string HttpHeadText(const HttpResponse& response, std::optional<size_t> length, bool chunked,
                         bool keep_alive);
std::string HttpChunk(std::string_view part);  // an empty one ends the body

}  // namespace fptq
