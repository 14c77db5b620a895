// `fptq serve`: the endpoints over an engine.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/service.h"
#include "server/access.h"
#include "server/http.h"
#include "text/chat_format.h"

namespace fptq {

struct ServerOptions {
  std::string host = "127.0.0.1";
  uint16_t port = 8000;                  // 0: a free one
  std::vector<std::string> model_names;  // at least one; the first is what responses say
  AccessOptions access;
  HttpLimits http;
  int64_t max_request_sequences = 1;  // most answers that one request may ask for
  double max_request_seconds = 0;     // 0: any
  std::string version, commit;
  std::function<void(std::string_view)> log;  // a line for each event; from any of its threads
};

// A row of the table of endpoints.
struct Endpoint {
  std::string_view method, path;
  bool open = false;         // needs no API key
  bool needs_model = false;  // 503 while there is none, or no more requests are taken
};

// Answers from the moment that it is made; until Serve(), with 503 to all that needs the model.
class Server {
 public:
  explicit Server(ServerOptions options);  // Error if it cannot listen
  // Stop().
  ~Server();

  const std::string& host() const;
  uint16_t port() const;
  std::string url() const;  // "http://127.0.0.1:8000"

  // `chat_format`: null if the model cannot chat. Both must live until Stop() has returned, and the
  // server must outlive the service. Once.
  void Serve(Service& service, const ChatFormat* chat_format);
  // No new requests are taken; those that are there are answered. From any thread.
  void Drain();
  // Returns when all has been answered after Drain(), or after Stop().
  void Wait();
  // The same, or after so many seconds: whether all has been answered.
  bool WaitFor(double seconds);
  // Breaks all connections off.
  void Stop();

  static std::vector<Endpoint> Endpoints();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace fptq
