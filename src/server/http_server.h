// Accepts connections and carries requests to a handler: all of it on one thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "server/budget.h"
#include "server/http.h"

namespace fptq {

class HttpServer {
 public:
  // Listens from now on; Start() begins to accept. Error if it cannot listen there. `port` 0: a
  // free one. `handler` must outlive it.
  HttpServer(const std::string& host, uint16_t port, const HttpLimits& limits,
             HttpHandler& handler);
  // Stop().
  ~HttpServer();

  const std::string& host() const;  // as an address
  uint16_t port() const;
  void Start();

  // Has the I/O thread call `task`; from any thread.
  void Post(std::function<void()> task);
  // Like Post, each `seconds` again. Before Start().
  void PostEach(double seconds, std::function<void()> task);
  // Ends connections that wait for a request, and from now on the others after their response; from
  // the I/O thread. New ones are still accepted, to be told.
  void Drain();
  // Breaks all connections off and ends the I/O thread; on_gone is not called. Tasks that were
  // posted are dropped.
  void Stop();

  // Of the I/O thread.
  int64_t connections() const;
  bool answering() const;  // a request has come whose response is not sent yet
  Budget& budget();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace fptq
