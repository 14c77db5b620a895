#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "server/server_testing.h"

namespace fptq {
namespace {

using std::chrono::milliseconds;
using LimitsTest = ServerTest;

TEST_F(LimitsTest, AClientThatGoesAwayEndsItsSequence) {
  StartLong();
  for (const bool stream : {true, false}) {
    Client client(server_->port());
    std::string body = LongRequest();
    if (!stream) body.replace(body.find("true}"), 4, "false");
    client.Request("POST", "/v1/completions", body);
    ASSERT_TRUE(Comes([&] { return service_->statistics().running == 1; }));
    if (stream) {
      ASSERT_TRUE(client.ReadUntil("data: "));
    }
    client.Close();
    EXPECT_TRUE(Comes([&] { return EngineIsIdle(); }));
  }
  EXPECT_TRUE(Comes([&] {
    return Get("/metrics").body.find("fptq_sequences_total{reason=\"cancelled\"} 2") !=
           std::string::npos;
  }));
  EXPECT_NE(Get("/metrics").body.find("status=\"499\"} 2"), std::string::npos);
}

TEST_F(LimitsTest, AFullQueueRefuses) {
  StartLong(/*max_sequences=*/1, /*queue=*/1);
  Client first(server_->port()), second(server_->port());
  first.Request("POST", "/v1/completions", LongRequest());
  ASSERT_TRUE(Comes([&] { return service_->statistics().running == 1; }));
  second.Request("POST", "/v1/completions", LongRequest());
  ASSERT_TRUE(Comes([&] { return service_->statistics().waiting == 1; }));
  const ClientResponse third = Post("/v1/completions", Json{{"prompt", "a"}});
  EXPECT_EQ(third.status, 429);
  EXPECT_TRUE(third.headers.contains("retry-after"));
  EXPECT_EQ(third.json()["error"]["code"], "queue_full");
  first.Close();
  second.Close();
  EXPECT_TRUE(Comes([&] { return EngineIsIdle(); }));
  EXPECT_EQ(Post("/v1/completions", Json{{"prompt", "a"}}).status, 200);
}

TEST_F(LimitsTest, ARequestThatOnlyFitsInPartIsRefusedWhole) {
  StartLong(/*max_sequences=*/1, /*queue=*/3);
  Json body = Json::parse(LongRequest());
  body["n"] = 8;
  EXPECT_EQ(Post("/v1/completions", body).status, 429);
  EXPECT_TRUE(Comes([&] { return EngineIsIdle(); }));
}

TEST_F(LimitsTest, DeadlinesEndAnswers) {
  options_.max_request_seconds = 0.2;
  StartLong();
  for (const double seconds : {0.05, 1000.0}) {
    Json body = Json::parse(LongRequest());
    body["stream"] = false;
    body["timeout_seconds"] = seconds;
    const Json response = Post("/v1/completions", body).json();
    EXPECT_EQ(response["choices"][0]["finish_reason"], "length");
    EXPECT_EQ(response["timings"]["timed_out"], true);
    EXPECT_GT(response["usage"]["completion_tokens"], 0);
  }
}

TEST_F(LimitsTest, LargeBodiesAndHeadersAreRefused) {
  options_.http.body_bytes = 1000;
  options_.http.header_bytes = 1000;
  Start();
  const ClientResponse body = Post("/tokenize", Json{{"prompt", std::string(1000, 'a')}});
  EXPECT_EQ(body.status, 413);
  EXPECT_EQ(body.headers.at("connection"), "close");
  EXPECT_EQ(Get("/health", "X: " + std::string(1000, 'a') + "\r\n").status, 431);
  Client client(server_->port());
  client.Send("hello\r\n\r\n");
  EXPECT_EQ(client.Response().status, 400);
  EXPECT_TRUE(client.Ends());
  EXPECT_EQ(Get("/health").status, 200);
}

// A refusal does not wait for the body, and the client can read it all the same.
TEST_F(LimitsTest, RefusedBodiesAreNotRead) {
  options_.access.api_keys = {"k"};
  Start();
  Client client(server_->port());
  client.Send("POST /tokenize HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n");
  const ClientResponse response = client.Response();
  EXPECT_EQ(response.status, 401);
  EXPECT_EQ(response.headers.at("connection"), "close");
}

TEST_F(LimitsTest, SlowRequestsTimeOut) {
  options_.http.header_timeout = milliseconds(200);
  options_.http.body_timeout = milliseconds(200);
  Start();
  Client header(server_->port()), body(server_->port());
  header.Send("GET /health HTT");
  body.Send("POST /tokenize HTTP/1.1\r\nContent-Length: 15\r\n\r\n{\"pro");
  // A byte now and then does not help.
  for (int i = 0; i < 20 && header.Send("P"); ++i) std::this_thread::sleep_for(milliseconds(50));
  EXPECT_EQ(header.Response().status, 408);
  EXPECT_EQ(body.Response().status, 408);
  EXPECT_TRUE(header.Ends() && body.Ends());
}

TEST_F(LimitsTest, IdleConnectionsEnd) {
  options_.http.idle_timeout = milliseconds(100);
  Start();
  Client silent(server_->port()), used(server_->port());
  used.Request("GET", "/health");
  EXPECT_EQ(used.Response().status, 200);
  EXPECT_TRUE(silent.Ends());
  EXPECT_TRUE(used.Ends());
}

TEST_F(LimitsTest, ManyIdleAndSlowConnectionsDelayNobody) {
  options_.http.connections = 400;
  Start();
  std::vector<std::unique_ptr<Client>> crowd;
  for (int i = 0; i < 300; ++i) {
    crowd.push_back(std::make_unique<Client>(server_->port()));
    if (i % 2 == 0) crowd.back()->Send("POST /tokenize HTTP/1.1\r\nContent-Length: 9\r\n\r\n{");
  }
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(Post("/v1/completions", Json{{"prompt", "a"}, {"max_tokens", 2}}).status, 200);
  }
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(5));
}

TEST_F(LimitsTest, IdleConnectionsMakeRoomForNewOnes) {
  options_.http.connections = 3;
  Start();
  std::vector<std::unique_ptr<Client>> crowd;
  for (int i = 0; i < 3; ++i) {
    crowd.push_back(std::make_unique<Client>(server_->port()));
    crowd.back()->Request("GET", "/health");
    EXPECT_EQ(crowd.back()->Response().status, 200);
  }
  EXPECT_EQ(Get("/health").status, 200);
  EXPECT_TRUE(crowd[0]->Ends());  // idle for longest
  crowd[2]->Request("GET", "/health");
  EXPECT_EQ(crowd[2]->Response().status, 200);
}

TEST_F(LimitsTest, AReaderThatStopsIsCutOff) {
  options_.http.write_timeout = milliseconds(300);
  StartLong();
  Client client(server_->port());
  client.SetReceiveBuffer(4096);
  Json body = Json::parse(LongRequest());
  body["max_tokens"] = 40000;
  body["logprobs"] = 20;  // many bytes a token, so that the system's buffers are full soon
  client.Request("POST", "/v1/completions", body.dump());
  ASSERT_TRUE(client.ReadUntil("data: "));
  // Not a byte is read from here on.
  EXPECT_TRUE(Comes([&] { return EngineIsIdle(); }));
  EXPECT_TRUE(Comes([&] {
    return Get("/metrics").body.find("fptq_sequences_total{reason=\"cancelled\"} 1") !=
           std::string::npos;
  }));
}

TEST_F(LimitsTest, MemoryOfAllClientsIsBounded) {
  options_.http.memory = 3000;
  options_.http.body_bytes = 1 << 20;
  Start();
  EXPECT_EQ(Post("/tokenize", Json{{"prompt", "a"}}).status, 200);
  const ClientResponse large = Post("/tokenize", Json{{"prompt", std::string(5000, 'a')}});
  EXPECT_EQ(large.status, 503);
  EXPECT_EQ(Post("/tokenize", Json{{"prompt", std::string(100, 'a')}}).status, 200);
  const ClientResponse answer =
      Post("/v1/completions",
           Json{{"prompt", "a"}, {"max_tokens", 200}, {"logprobs", 20}, {"ignore_eos", true}});
  EXPECT_EQ(answer.status, 503);
  EXPECT_TRUE(Comes([&] { return EngineIsIdle(); }));
  EXPECT_NE(Get("/metrics").body.find("fptq_http_memory_bytes 0"), std::string::npos);
}

TEST_F(LimitsTest, TooManyLogProbabilitiesAreRefused) {
  StartLong();
  const ClientResponse response =
      Post("/v1/completions", Json{{"prompt", "a"}, {"max_tokens", 60000}, {"logprobs", 20}});
  EXPECT_EQ(response.status, 400);
  EXPECT_EQ(response.json()["error"]["param"], "logprobs");
}

TEST_F(LimitsTest, DrainingLetsStreamsFinish) {
  StartLong();
  Client stream(server_->port()), idle(server_->port());
  idle.Request("GET", "/health");
  EXPECT_EQ(idle.Response().status, 200);
  Json body = Json::parse(LongRequest());
  body["max_tokens"] = 3000;
  stream.Request("POST", "/v1/completions", body.dump());
  ASSERT_TRUE(stream.ReadUntil("data: "));
  server_->Drain();
  EXPECT_TRUE(idle.Ends());
  const ClientResponse refused = Post("/v1/completions", Json{{"prompt", "a"}});
  EXPECT_EQ(refused.status, 503);
  EXPECT_EQ(refused.json()["error"]["code"], "draining");
  EXPECT_EQ(Get("/ready").status, 503);
  EXPECT_EQ(Get("/health").status, 200);
  const ClientResponse streamed = stream.Response();
  EXPECT_EQ(EventsOf(streamed.body).back(), "[DONE]");
  EXPECT_NE(streamed.body.find("\"finish_reason\":\"length\""), std::string::npos);
  server_->Wait();
  EXPECT_TRUE(EngineIsIdle());
}

TEST_F(LimitsTest, StoppingBreaksStreamsOff) {
  StartLong();
  Client stream(server_->port());
  stream.Request("POST", "/v1/completions", LongRequest());
  ASSERT_TRUE(stream.ReadUntil("data: "));
  server_->Stop();
  server_->Wait();
  service_ = nullptr;  // cancels what still runs
  server_ = nullptr;
  EXPECT_TRUE(stream.Ends());
}

}  // namespace
}  // namespace fptq
