#include "server/server.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "server/server_testing.h"

namespace fptq {
namespace {

using EndpointTest = ServerTest;

TEST_F(EndpointTest, EachAnswersWithItsStatus) {
  Start();
  EXPECT_EQ(Get("/health").json(), (Json{{"status", "ok"}}));
  EXPECT_EQ(Get("/version").json()["version"], "test");
  EXPECT_EQ(Get("/openapi.json").json()["openapi"], "3.1.0");
  const ClientResponse page = Get("/");
  EXPECT_EQ(page.status, 200);
  EXPECT_EQ(page.headers.at("content-type"), "text/html; charset=utf-8");
  EXPECT_NE(page.headers.at("content-security-policy").find("script-src"), std::string::npos);
  const Json models = Get("/v1/models").json();
  EXPECT_EQ(models["data"][0]["id"], "tiny");
  EXPECT_EQ(models["data"][0]["max_model_len"], 256);
  EXPECT_EQ(Get("/v1/models/tin%79?x=y").json(), models["data"][0]);
  EXPECT_EQ(Get("/v1/models/other").status, 404);
  EXPECT_EQ(Get("/tokenizer_info").json()["eos_token"], "<|im_end|>");
  const Json tokens = Post("/tokenize", Json{{"prompt", "Hello"}}).json()["tokens"];
  EXPECT_EQ(Post("/detokenize", Json{{"tokens", tokens}}).json()["prompt"], "Hello");
  EXPECT_EQ(Get("/nothing").status, 404);
  EXPECT_EQ(Get("/../etc/passwd").status, 404);
  const ClientResponse wrong_method = Get("/v1/completions");
  EXPECT_EQ(wrong_method.status, 405);
  EXPECT_EQ(wrong_method.headers.at("allow"), "POST");
  EXPECT_EQ(Post("/health", Json()).headers.at("allow"), "GET, HEAD");
  const ClientResponse no_json = Post("/v1/completions", std::string("{"));
  EXPECT_EQ(no_json.status, 400);
  EXPECT_EQ(no_json.json()["error"]["code"], "invalid_json");
  EXPECT_EQ(Post("/v1/completions", Json{{"prompt", "a"}, {"model", "other"}}).status, 404);
}

TEST_F(EndpointTest, HeadHasNoBody) {
  Start();
  Client client(server_->port());
  client.Request("HEAD", "/health");
  const ClientResponse head = client.Response(/*has_body=*/false);
  EXPECT_EQ(head.status, 200);
  EXPECT_EQ(head.headers.at("content-length"), "15");
  client.Request("GET", "/health");  // nothing of a body is in the way
  EXPECT_EQ(client.Response().json()["status"], "ok");
}

TEST_F(EndpointTest, ConnectionsTakeManyRequests) {
  Start();
  Client client(server_->port());
  for (int i = 0; i < 3; ++i) {
    client.Request("POST", "/tokenize", R"({"prompt": "a"})");
    const ClientResponse response = client.Response();
    EXPECT_EQ(response.status, 200);
    EXPECT_EQ(response.headers.at("connection"), "keep-alive");
  }
  const std::string request = "GET /health HTTP/1.1\r\nHost: x\r\n\r\n";
  client.Send(request + request + "GET /version HTTP/1.1\r\nConnection: close\r\n\r\n");
  EXPECT_EQ(client.Response().status, 200);
  EXPECT_EQ(client.Response().status, 200);
  const ClientResponse last = client.Response();
  EXPECT_EQ(last.json()["version"], "test");
  EXPECT_EQ(last.headers.at("connection"), "close");
  EXPECT_TRUE(client.Ends());
}

TEST_F(EndpointTest, BodiesMayWaitForContinue) {
  Start();
  Client client(server_->port());
  client.Send("POST /tokenize HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 15\r\n\r\n");
  EXPECT_EQ(client.Response(/*has_body=*/false).status, 100);
  client.Send(R"({"prompt": "a"})");
  EXPECT_EQ(client.Response().status, 200);
}

TEST_F(EndpointTest, WhatNeedsTheModelWaitsForIt) {
  Listen();
  EXPECT_EQ(Get("/health").status, 200);
  EXPECT_EQ(Get("/").status, 200);
  EXPECT_EQ(Get("/metrics").status, 200);
  for (const char* path : {"/ready", "/v1/models", "/tokenizer_info"}) {
    const ClientResponse response = Get(path);
    EXPECT_EQ(response.status, 503) << path;
    EXPECT_EQ(response.json()["error"]["code"], "loading") << path;
    EXPECT_TRUE(response.headers.contains("retry-after")) << path;
  }
  EXPECT_EQ(Post("/v1/completions", Json{{"prompt", "a"}}).status, 503);
  Load(model_);
  EXPECT_EQ(Post("/v1/completions", Json{{"prompt", "a"}}).status, 200);
}

TEST_F(EndpointTest, KeysAreNeededForAllThatCostsSomething) {
  options_.access.api_keys = {"secret", "other"};
  Start();
  for (const Endpoint& endpoint : Server::Endpoints()) {
    const ClientResponse response =
        endpoint.method == "GET" ? Get(endpoint.path) : Post(endpoint.path, Json::object());
    EXPECT_EQ(response.status == 401, !endpoint.open) << endpoint.path << response.status;
    if (response.status == 401) {
      EXPECT_EQ(response.headers.at("www-authenticate"), "Bearer");
    }
  }
  EXPECT_EQ(Get("/v1/models", "Authorization: Bearer secre\r\n").status, 401);
  EXPECT_EQ(Get("/v1/models", "Authorization: Bearer secret\r\n").status, 200);
  EXPECT_EQ(Get("/v1/models", "Authorization: Bearer other\r\n").status, 200);
}

TEST_F(EndpointTest, PagesOfOtherServersMayAskIfListed) {
  options_.access.cors_origins = {"https://good.example"};
  Start();
  const ClientResponse good = Get("/v1/models", "Origin: https://good.example\r\n");
  EXPECT_EQ(good.status, 200);
  EXPECT_EQ(good.headers.at("access-control-allow-origin"), "https://good.example");
  const ClientResponse bad = Get("/v1/models", "Origin: https://bad.example\r\n");
  EXPECT_EQ(bad.status, 403);
  EXPECT_FALSE(bad.headers.contains("access-control-allow-origin"));
  EXPECT_EQ(Get("/v1/models", "Origin: http://test\r\n").status, 200);  // its own page
  Client client(server_->port());
  client.Request("OPTIONS", "/v1/completions", {},
                 "Origin: https://good.example\r\nAccess-Control-Request-Method: POST\r\n"
                 "Access-Control-Request-Headers: authorization\r\n");
  const ClientResponse preflight = client.Response(/*has_body=*/false);
  EXPECT_EQ(preflight.status, 204);
  EXPECT_EQ(preflight.headers.at("access-control-allow-headers"), "authorization");
}

TEST_F(EndpointTest, MetricsCountWhatHappens) {
  Start();
  Post("/v1/completions", Json{{"prompt", "Hello"}, {"max_tokens", 5}, {"ignore_eos", true}});
  Get("/nothing");
  // Statistics may lag a step behind.
  std::string metrics;
  EXPECT_TRUE(Comes([&] {
    metrics = Get("/metrics").body;
    return metrics.find("fptq_completion_tokens_total 5") != metrics.npos;
  })) << metrics;
  for (const char* line :
       {"fptq_prompt_tokens_total 5", "fptq_sequences_total{reason=\"max_tokens\"} 1",
        "fptq_responses_total{endpoint=\"/v1/completions\",status=\"200\"} 1",
        "fptq_responses_total{endpoint=\"other\",status=\"404\"} 1",
        "fptq_time_to_first_token_seconds_count 1", "fptq_time_per_token_seconds_count 4",
        "fptq_ready 1", "# TYPE fptq_queue_seconds histogram"}) {
    EXPECT_NE(metrics.find(line), metrics.npos) << line << "\n" << metrics;
  }
}

using AnswerTest = ServerTest;

TEST_F(AnswerTest, CompletionsEchoWithLogProbabilities) {
  Start();
  const Json whole = Post("/v1/completions", Json{{"prompt", "Hello"},
                                                  {"max_tokens", 3},
                                                  {"temperature", 0},
                                                  {"ignore_eos", true},
                                                  {"echo", true},
                                                  {"logprobs", 2}})
                         .json();
  const Json logprobs = whole["choices"][0]["logprobs"];
  EXPECT_TRUE(whole["choices"][0]["text"].get<std::string>().starts_with("Hello"));
  ASSERT_EQ(logprobs["tokens"].size(), 8u);
  EXPECT_TRUE(logprobs["token_logprobs"][0].is_null());
  for (size_t i = 5; i < 8; ++i) {  // greedy: the most likely one
    EXPECT_EQ(logprobs["top_logprobs"][i].size(), 2u);
    EXPECT_EQ(logprobs["top_logprobs"][i].begin().value(), logprobs["token_logprobs"][i]);
  }
  // The prompt alone has the same ones.
  const Json prompt =
      Post("/v1/completions",
           Json{{"prompt", "Hello"}, {"max_tokens", 0}, {"echo", true}, {"logprobs", 2}})
          .json();
  EXPECT_EQ(prompt["choices"][0]["text"], "Hello");
  EXPECT_EQ(prompt["choices"][0]["finish_reason"], "length");
  EXPECT_EQ(prompt["usage"]["completion_tokens"], 0);
  for (size_t i = 0; i < 5; ++i) {
    EXPECT_EQ(prompt["choices"][0]["logprobs"]["token_logprobs"][i], logprobs["token_logprobs"][i]);
  }
}

TEST_F(AnswerTest, StreamsSayWhatWholeAnswersSay) {
  Start();
  for (const int seed : {1, 2, 3}) {
    Json body = {{"messages", {{{"role", "user"}, {"content", "Hello"}}}},
                 {"max_tokens", 60},
                 {"seed", seed},
                 {"n", 2},
                 {"logprobs", true},
                 {"top_logprobs", 1}};
    const Json whole = Post("/v1/chat/completions", body).json();
    body["stream"] = true;
    body["stream_options"] = {{"include_usage", true}};
    const ClientResponse response = Post("/v1/chat/completions", body);
    EXPECT_EQ(response.headers.at("content-type"), "text/event-stream; charset=utf-8");
    const std::vector<std::string> events = EventsOf(response.body);
    ASSERT_EQ(events.back(), "[DONE]");
    std::vector<std::string> texts(2), ends(2);
    std::vector<Json> logprobs(2, Json::array());
    for (size_t i = 0; i + 2 < events.size(); ++i) {
      const Json choice = Json::parse(events[i])["choices"][0];
      const size_t index = choice["index"];
      texts[index] += choice["delta"].value("content", "");
      if (!choice["finish_reason"].is_null()) ends[index] = choice["finish_reason"];
      if (choice["logprobs"].is_null()) continue;
      for (const Json& token : choice["logprobs"]["content"]) logprobs[index].push_back(token);
    }
    for (size_t i = 0; i < 2; ++i) {
      const Json& choice = whole["choices"][i];
      EXPECT_EQ(texts[i], choice["message"]["content"].get<std::string>());
      EXPECT_EQ(ends[i], choice["finish_reason"].get<std::string>());
      EXPECT_EQ(logprobs[i], choice["logprobs"]["content"]);
    }
    const Json usage = Json::parse(events[events.size() - 2])["usage"];
    EXPECT_EQ(usage["completion_tokens"], whole["usage"]["completion_tokens"]);
  }
}

TEST_F(AnswerTest, StopStringsEndAnswers) {
  Start();
  Json body = {{"prompt", "Hello"}, {"max_tokens", 40}, {"seed", 4}, {"ignore_eos", true}};
  const std::string text = Post("/v1/completions", body).json()["choices"][0]["text"];
  ASSERT_GT(text.size(), 10u);
  size_t begin = 5;  // a stop string of whole characters
  while ((static_cast<uint8_t>(text[begin]) & 0xc0) == 0x80) ++begin;
  size_t end = begin + 3;
  while ((static_cast<uint8_t>(text[end]) & 0xc0) == 0x80) ++end;
  const std::string stop = text.substr(begin, end - begin);
  body["stop"] = {"never there", stop};
  const Json choice = Post("/v1/completions", body).json()["choices"][0];
  EXPECT_EQ(choice["text"], text.substr(0, text.find(stop)));
  EXPECT_EQ(choice["finish_reason"], "stop");
}

// What makes this server what it is: nobody's answer depends on who else asks, on what the prefix
// cache has, on pages that run out, or on how prompts are cut.
TEST_F(AnswerTest, UnderLoadTheyAreThoseOfARequestAlone) {
  std::vector<Json> bodies;
  for (int i = 0; i < 24; ++i) {
    const std::string shared = "The same beginning of all, long enough for a page of the cache: ";
    bodies.push_back({{"prompt", shared + std::string(static_cast<size_t>(i % 5), 'x')},
                      {"max_tokens", 20 + i},
                      {"seed", i},
                      {"temperature", 1.5},
                      {"logprobs", 3},
                      {"echo", i % 2 == 0},
                      {"ignore_eos", true}});
  }
  const auto restart = [this](const SchedulerOptions& scheduler) {
    TearDown();
    Listen();
    Load(model_, scheduler);
  };
  restart({.context = 256, .max_sequences = 1, .prefix_cache = false});
  std::vector<Json> alone;
  for (const Json& body : bodies) alone.push_back(Post("/v1/completions", body).json()["choices"]);
  const ModelConfig& config = model_->config();
  const int64_t page = KvCache::PageBytes(config, model_->kv_type(), config.layers);
  for (const SchedulerOptions& scheduler : {SchedulerOptions{.context = 256},
                                            {.context = 256, .kv_bytes = 7 * page},
                                            {.context = 256, .batch_rows = 17}}) {
    restart(scheduler);
    std::vector<std::thread> clients;
    std::atomic<int> equal = 0;
    for (size_t c = 0; c < 8; ++c) {
      clients.emplace_back([&, c] {
        for (size_t i = 0; i < bodies.size(); ++i) {
          const size_t which = (i * 7 + c * 3) % bodies.size();
          if (Post("/v1/completions", bodies[which]).json()["choices"] == alone[which]) ++equal;
        }
      });
    }
    for (std::thread& client : clients) client.join();
    EXPECT_EQ(equal, 8 * 24);
    const bool scarce = scheduler.kv_bytes > 0;
    EXPECT_EQ(service_->statistics().preemptions > 0, scarce);
  }
}

TEST_F(AnswerTest, ListsOfPromptsAreAnsweredInOrder) {
  Start();
  const Json body = {{"prompt", {"one", "two", "three"}},
                     {"n", 2},
                     {"seed", 3},
                     {"max_tokens", 8},
                     {"ignore_eos", true}};
  const Json choices = Post("/v1/completions", body).json()["choices"];
  ASSERT_EQ(choices.size(), 6u);
  const Json two =
      Post("/v1/completions",
           Json{{"prompt", "two"}, {"seed", 4}, {"max_tokens", 8}, {"ignore_eos", true}})
          .json()["choices"][0];
  EXPECT_EQ(choices[3]["index"], 3);
  EXPECT_EQ(choices[3]["text"], two["text"]);
}

TEST_F(AnswerTest, CachedTokensAreTold) {
  Start();
  const Json body = {{"prompt", std::string(200, 'a')}, {"max_tokens", 1}};
  EXPECT_EQ(Post("/v1/completions", body).json()["usage"]["prompt_tokens_details"]["cached_tokens"],
            0);
  EXPECT_GE(Post("/v1/completions", body)
                .json()["usage"]["prompt_tokens_details"]["cached_tokens"]
                .get<int>(),
            64);
}

TEST_F(AnswerTest, OldClientsGetStreamsToTheEndOfTheConnection) {
  Start();
  Client client(server_->port());
  const std::string body = R"({"prompt": "a", "max_tokens": 4, "stream": true})";
  client.Send(fmt::format("POST /v1/completions HTTP/1.0\r\nContent-Length: {}\r\n\r\n{}",
                          body.size(), body));
  const ClientResponse response = client.Response();
  EXPECT_FALSE(response.headers.contains("transfer-encoding"));
  EXPECT_EQ(EventsOf(response.body).back(), "[DONE]");
}

}  // namespace
}  // namespace fptq
