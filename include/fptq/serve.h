// A model behind OpenAI's API over HTTP, as `fptq serve` has it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "fptq/error.h"
#include "fptq/llm.h"

namespace fptq {

struct ServeOptions {
  std::string host = "127.0.0.1";        // address to listen on: this machine alone may ask
  uint16_t port = 8000;                  // 0: a free one
  std::vector<std::string> model_names;  // that requests may use; empty: that of its folder or file
  std::vector<std::string> api_keys;     // one of them has to be given; empty: none
  std::vector<std::string> cors_origins;      // of pages that may ask; "*": all
  int64_t queue = 512;                        // answers that wait; beyond it 429 is answered
  double request_seconds = 0;                 // after which an answer ends; 0: never
  std::function<void(std::string_view)> log;  // a line for each event; from any of its threads
};

// Answers requests on threads of its own from the moment that it is made.
class FPTQ_API ModelServer {
 public:
  // Loads the model (LLM has what it can be) and listens. Error if it cannot do either.
  explicit ModelServer(const std::filesystem::path& model, const LlmOptions& options = {},
                       const ServeOptions& serve = {});
  ModelServer(ModelServer&&) noexcept;
  ModelServer& operator=(ModelServer&&) noexcept;
  ~ModelServer();  // breaks all connections off

  std::string url() const;  // "http://127.0.0.1:8000"
  uint16_t port() const;

  // No new requests are taken; those that are there are answered. From any thread.
  void Drain();
  // Returns when all has been answered after Drain(), or after so many seconds: whether it was.
  bool Wait(double seconds);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace fptq
