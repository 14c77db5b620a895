#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "cli/testing.h"
#include "model/testing.h"
#include "server/client_testing.h"

namespace fptq {
namespace {

bool Comes(const std::function<bool()>& f) {
  for (int i = 0; i < 3000; ++i) {
    if (f()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return false;
}

// `fptq serve` as a user starts it. Ended by the test, or at its end.
class Serve {
 public:
  explicit Serve(std::vector<std::string> args, bool wait = true) {
    args.insert(args.begin(), "serve");
    args.insert(args.end(), {"--port", "0", "--threads", "1"});
    const int in = open("/dev/null", O_RDONLY);
    process_ = Start(args, in, out(), folder_ / "err");
    close(in);
    if (!wait) return;
    EXPECT_TRUE(Comes([&] { return ReadFile(out()).ends_with("ready\n"); })) << log();
    const std::string text = ReadFile(out());
    const std::string begin = "listening on http://127.0.0.1:";
    EXPECT_TRUE(text.starts_with(begin)) << text;
    port_ = static_cast<uint16_t>(std::stoi(text.substr(begin.size())));
  }
  ~Serve() {
    if (process_ > 0) kill(process_, SIGKILL);
    if (process_ > 0) Wait(process_);
  }
  Serve(const Serve&) = delete;
  Serve& operator=(const Serve&) = delete;

  uint16_t port() const { return port_; }
  void Signal(int signal) const { kill(process_, signal); }
  int Status() { return Wait(std::exchange(process_, 0)); }
  std::string log() const { return ReadFile(folder_ / "err"); }

 private:
  std::string out() const { return folder_ / "out"; }

  TempFolder folder_;
  pid_t process_ = 0;
  uint16_t port_ = 0;
};

// A model whose answers may take long.
std::string LongModel(const TempFolder& folder) {
  EditModel(Tiny("tiny-llama-w4a8"), folder / "long-model",
            [](EditableModel& model) { model.config["max_position_embeddings"] = 65536; });
  return folder / "long-model";
}

std::string Body(int max_tokens) {
  return fmt::format(
      R"({{"prompt": "a secret", "max_tokens": {}, "ignore_eos": true, "stream": true}})",
      max_tokens);
}

TEST(ServeTest, AnswersAndLogsNoText) {
  const TempFolder folder;
  const std::string keys = folder.Write("keys", "first\nsecond\n");
  Serve serve({"--served-model-name", "one", Tiny("tiny-llama-w4a8"), "--served-model-name", "two",
               "--api-key-file", keys, "--context", "100"});
  Client client(serve.port());
  client.Request("GET", "/v1/models");
  EXPECT_EQ(client.Response().status, 401);
  client.Request("GET", "/v1/models", {}, "Authorization: Bearer second\r\n");
  const Json models = client.Response().json()["data"];
  ASSERT_EQ(models.size(), 2u);
  EXPECT_EQ(models[1]["id"], "two");
  EXPECT_EQ(models[0]["max_model_len"], 100);
  client.Request("POST", "/v1/completions", Body(5), "Authorization: Bearer first\r\n");
  EXPECT_EQ(EventsOf(client.Response().body).back(), "[DONE]");
  serve.Signal(SIGTERM);
  EXPECT_EQ(serve.Status(), 0);
  const std::string log = serve.log();
  EXPECT_NE(log.find("POST /v1/completions 200"), log.npos) << log;
  EXPECT_NE(log.find("completion=5"), log.npos) << log;
  for (const char* secret : {"secret", "first", "second"}) {
    EXPECT_EQ(log.find(secret), log.npos) << log;
  }
}

TEST(ServeTest, TheFirstSignalLetsStreamsFinish) {
  const TempFolder folder;
  Serve serve({LongModel(folder), "--context", "65536"});
  Client client(serve.port());
  client.Request("POST", "/v1/completions", Body(2000));
  ASSERT_TRUE(client.ReadUntil("data: "));
  serve.Signal(SIGINT);
  EXPECT_TRUE(Comes([&] {
    Client other(serve.port());
    other.Request("GET", "/ready");
    return other.Response().status == 503;
  }));
  const std::vector<std::string> events = EventsOf(client.Response().body);
  EXPECT_EQ(events.back(), "[DONE]");
  EXPECT_EQ(serve.Status(), 0);
}

TEST(ServeTest, TheSecondSignalEndsAtOnce) {
  const TempFolder folder;
  Serve serve({LongModel(folder), "--context", "65536"});
  Client client(serve.port());
  client.Request("POST", "/v1/completions", Body(60000));
  ASSERT_TRUE(client.ReadUntil("data: "));
  serve.Signal(SIGTERM);
  EXPECT_TRUE(Comes([&] { return serve.log().find("shutting down") != std::string::npos; }));
  serve.Signal(SIGINT);
  EXPECT_EQ(serve.Status(), 130);
}

TEST(ServeTest, SaysWhatIsWrong) {
  const std::string tiny = Tiny("tiny-llama-w4a8");
  const TempFolder folder;
  const Result result = Fptq({"serve", tiny, "--context", "1000", "--port", "0"});
  EXPECT_EQ(result.status, 1);
  EXPECT_NE(result.err.find("--context: the model has 256 positions, found 1000"),
            std::string::npos);
  Fail("expected a key on each line, found none",
       {"serve", tiny, "--api-key-file", folder.Write("keys", "\n")});
  Fail("cannot listen on 127.0.0.1 port", [&] {
    static Serve other({tiny});
    return std::vector<std::string>{"serve", tiny, "--port", std::to_string(other.port())};
  }());
  Fail("--host no.such.host.invalid", {"serve", tiny, "--host", "no.such.host.invalid"});
  Fail("--queue", {"serve", tiny, "--queue", "0"});
  Fail("expected a whole number from 0 to 65535, found '70000'",
       {"serve", tiny, "--port", "70000"});
}

}  // namespace
}  // namespace fptq
