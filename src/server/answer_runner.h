// Carries calls to the engine and its answers back to the clients.
#pragma once

#include <cstdint>
#include <memory>

#include "engine/service.h"
#include "server/api.h"
#include "server/http_server.h"
#include "server/metrics.h"
#include "server/reply.h"
#include "server/worker.h"

namespace fptq {

// Of the I/O thread. The engine's thread only leaves what it has in a box, which the I/O thread
// empties; whole responses are written by the worker.
class AnswerRunner {
 public:
  // All must outlive it, and the service must have ended when it does.
  AnswerRunner(HttpServer& http, Worker& worker, Metrics& metrics, std::string fingerprint);
  ~AnswerRunner();

  void Run(Service& service, AnswerCall call, std::string id, std::shared_ptr<Reply> reply);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace fptq
