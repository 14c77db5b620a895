#include "fptq/serve.h"

#include <fmt/format.h>

#include <utility>

#include "api/call.h"
#include "api/running_model.h"
#include "api/tokenizer_state.h"
#include "base/build.h"
#include "files/paths.h"
#include "server/server.h"

namespace fptq {
namespace {

ServerOptions OptionsOf(const std::filesystem::path& model, const ServeOptions& serve) {
  ServerOptions options;
  options.host = serve.host;
  options.port = serve.port;
  options.model_names = serve.model_names;
  if (options.model_names.empty()) options.model_names = {LastName(model)};
  options.access = {.api_keys = serve.api_keys, .cors_origins = serve.cors_origins};
  options.max_request_sequences = serve.queue;
  options.max_request_seconds = serve.request_seconds;
  options.version = kVersion;
  options.commit = kCommit;
  options.log = serve.log;
  return options;
}

}  // namespace

struct [[gnu::visibility("hidden")]] ModelServer::State {
  State(const std::filesystem::path& path, const LlmOptions& options, const ServeOptions& serve)
      : server(OptionsOf(path, serve)),
        running(path, options, serve.queue),
        tokenizer(running.model, running.model->tokenizer, running.model->chat_templates) {
    server.Serve(*running.service, tokenizer.format ? &*tokenizer.format : nullptr);
  }
  ~State() { server.Stop(); }

  Server server;  // outlives the service
  RunningModel running;
  ModelTokenizer::State tokenizer;
};

ModelServer::ModelServer(const std::filesystem::path& model, const LlmOptions& options,
                         const ServeOptions& serve)
    : state_(AsApi([&] { return std::make_unique<State>(model, options, serve); })) {}
ModelServer::ModelServer(ModelServer&&) noexcept = default;
ModelServer& ModelServer::operator=(ModelServer&&) noexcept = default;
ModelServer::~ModelServer() = default;

std::string ModelServer::url() const { return state_->server.url(); }
uint16_t ModelServer::port() const { return state_->server.port(); }
void ModelServer::Drain() { state_->server.Drain(); }
bool ModelServer::Wait(double seconds) { return state_->server.WaitFor(seconds); }

}  // namespace fptq
