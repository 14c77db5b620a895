#include <fmt/format.h>
#include <pthread.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "base/build.h"
#include "base/error.h"
#include "cli/arguments.h"
#include "cli/chat_option.h"
#include "cli/interrupt.h"
#include "cli/load.h"
#include "cli/subcommands.h"
#include "cli/terminal.h"
#include "engine/service.h"
#include "files/paths.h"
#include "files/text_file.h"
#include "server/server.h"

namespace fptq {
namespace {

constexpr int64_t kDefaultContext = 4096;
constexpr int64_t kReservedFiles = 64;  // of what a process may open: those that are no connections

struct ServeOptions {
  std::string path, pre_tokenizer, api_key_file;
  FloatForm form = FloatForm::kFloat32;
  std::optional<std::string> chat_template;
  int64_t context = 0;
  int threads = 1;
  int64_t queue = 512;
  bool no_prefix_cache = false;
  SchedulerOptions scheduler;
  ServerOptions server;
  int64_t port = 8000, body_bytes = 0;
};

void AddModelOptions(CLI::App& app, ServeOptions& o) {
  app.add_option("MODEL", o.path,
                 "quantized folder, or float model: Hugging Face folder or GGUF file")
      ->required();
  app.add_option("--served-model-name", o.server.model_names,
                 "a name that requests may call the model, may be given several times (default: "
                 "that of its folder or file)")
      ->allow_extra_args(false);
  app.add_option("--chat-template", o.chat_template, kChatTemplateHelp);
  app.add_option("--context", o.context,
                 "most tokens of prompt and answer (default 4096, or less if the model has less)")
      ->check(Between(int64_t{1}, kAnyCount));
  app.add_option("--max-sequences", o.scheduler.max_sequences,
                 "answers that are computed together (default 64)")
      ->check(Between(int64_t{1}, int64_t{4096}));
  app.add_option("--queue", o.queue, "answers that wait; beyond it 429 is answered (default 512)")
      ->check(Between(int64_t{1}, int64_t{1'000'000}));
  app.add_option("--kv-memory", o.scheduler.kv_bytes,
                 "bytes for keys and values (default: what --max-sequences of the full context "
                 "need, at most half of what is free)")
      ->check(Between(int64_t{1}, kAnyCount * 1000));
  app.add_option("--batch-tokens", o.scheduler.batch_rows,
                 "most tokens of prompts in a step: fewer let answers flow more evenly while "
                 "prompts come (default 512)")
      ->check(Between(int64_t{1}, int64_t{65'536}));
  app.add_flag("--no-prefix-cache", o.no_prefix_cache,
               "compute prompts whole, also where they begin like earlier ones");
  AddPreTokenizer(app, o.pre_tokenizer);
  AddActivations(app, o.form);
  AddThreads(app, o.threads);
}

void AddNetworkOptions(CLI::App& app, ServeOptions& o) {
  app.add_option("--host", o.server.host,
                 "address to listen on (default 127.0.0.1: this machine alone may ask)");
  app.add_option("--port", o.port, "0: a free one (default 8000)")
      ->check(Between(int64_t{0}, int64_t{65'535}));
  app.add_option("--api-key-file", o.api_key_file,
                 "file with a key on each line, one of which requests have to give");
  app.add_option("--cors", o.server.access.cors_origins,
                 "origin of pages that may ask, e.g. https://example.com, may be given several "
                 "times; * for all")
      ->allow_extra_args(false);
  app.add_option("--max-body", o.body_bytes, "most bytes of a request's body (default 4 MiB)")
      ->check(Between(int64_t{1024}, int64_t{1} << 30));
  app.add_option("--max-connections", o.server.http.connections,
                 "open connections (default 4096, or less if the system allows less)")
      ->check(Between(int64_t{1}, int64_t{1'000'000}));
  app.add_option("--http-memory", o.server.http.memory,
                 "bytes that all bodies and answers together may take (default 512 MiB)")
      ->check(Between(int64_t{1} << 20, kAnyCount));
  app.add_option("--request-timeout", o.server.max_request_seconds,
                 "seconds after which an answer ends, finished or not (default 0: never)")
      ->check(Between(0.0, 1e6));
}

// Each connection is an open file: as many as the system lets the process have.
void RaiseFileLimit(int64_t& connections) {
  rlimit limit = {};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return;
  const int64_t allowed = static_cast<int64_t>(limit.rlim_cur) - kReservedFiles;
  connections = std::max<int64_t>(std::min(connections, allowed), 1);
}

ServerOptions MakeServerOptions(ServeOptions& o) {
  ServerOptions options = o.server;
  options.port = static_cast<uint16_t>(o.port);
  if (options.model_names.empty()) options.model_names = {OneLine(LastName(o.path))};
  if (!o.api_key_file.empty()) {
    options.access.api_keys = ParseKeys(TextFile(o.api_key_file).text(), o.api_key_file);
  }
  if (o.body_bytes > 0) options.http.body_bytes = static_cast<size_t>(o.body_bytes);
  RaiseFileLimit(options.http.connections);
  options.max_request_sequences = o.queue;
  options.version = kVersion;
  options.commit = kCommit;
  options.log = [](std::string_view line) { Note(fmt::format("{}\n", line)); };
  return options;
}

// Takes SIGTERM and SIGINT in place of their handlers. The first one lets the server finish what it
// has, a second one ends the program, and so does the first while the model is loaded.
class SignalThread {
 public:
  SignalThread() {
    std::signal(SIGPIPE, SIG_IGN);  // whoever read the log may go
    sigemptyset(&signals_);
    for (const int signal : {SIGTERM, SIGINT, SIGUSR1}) sigaddset(&signals_, signal);
    pthread_sigmask(SIG_BLOCK, &signals_, nullptr);  // threads that are started later, too
  }
  ~SignalThread() { Stop(); }
  SignalThread(const SignalThread&) = delete;
  SignalThread& operator=(const SignalThread&) = delete;

  void Start(Server& server) {
    thread_ = std::thread([this, &server] { Run(server); });
  }
  void DrainFromNowOn() { loaded_ = true; }
  void Stop() {
    if (!thread_.joinable()) return;
    ends_ = true;
    pthread_kill(thread_.native_handle(), SIGUSR1);
    thread_.join();
  }

 private:
  void Run(Server& server) {
    for (int count = 0;;) {
      int signal = 0;
      if (sigwait(&signals_, &signal) != 0) continue;
      if (ends_) return;
      if (signal == SIGUSR1) continue;
      const int status = signal == SIGINT ? kInterruptedStatus : 128 + SIGTERM;
      if (!loaded_ || ++count > 1) _exit(status);
      Note("[shutting down: answers that have begun are finished; again ends at once]\n");
      server.Drain();
    }
  }

  sigset_t signals_ = {};
  std::thread thread_;
  std::atomic<bool> ends_ = false, loaded_ = false;
};

std::optional<ChatFormat> FindChatFormat(const ServeOptions& options, const Model& model) {
  if (!options.chat_template && model.chat_templates.texts.empty()) {
    Note("[the model has no chat template: /v1/chat/completions answers 422]\n");
    return std::nullopt;
  }
  return ChooseChatFormat(options.chat_template, model, options.path);
}

}  // namespace

int RunServe(int argc, char** argv) {
  CLI::App app("Serves a model to clients of OpenAI's API, and a page to chat with it.",
               "fptq serve");
  ServeOptions options;
  AddModelOptions(app, options);
  AddNetworkOptions(app, options);
  if (!ParseArguments(app, argc, argv)) return 0;

  SignalThread signals;
  Server server(MakeServerOptions(options));
  signals.Start(server);
  Print(fmt::format("listening on {}\n", server.url()));
  ThreadPool pool(options.threads);
  const auto model =
      LoadModelAndWarn(Locate(options.path, options.pre_tokenizer), pool, options.form);
  options.scheduler.context = ChooseContext(options.context, kDefaultContext, model->config());
  options.scheduler.prefix_cache = !options.no_prefix_cache;
  const auto chat_format = FindChatFormat(options, *model);
  Service service(model, pool, options.scheduler, options.queue);
  signals.DrainFromNowOn();
  server.Serve(service, chat_format ? &*chat_format : nullptr);
  Print("ready\n");
  server.Wait();
  signals.Stop();
  server.Stop();
  return 0;
}

}  // namespace fptq
