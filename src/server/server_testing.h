// A server on the loopback address over a tiny model.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <thread>

#include "base/test_paths.h"
#include "base/test_util.h"
#include "engine/service.h"
#include "model/testing.h"
#include "server/client_testing.h"
#include "server/server.h"

namespace fptq {

class ServerTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    pool_ = std::make_unique<ThreadPool>(1);
    const auto tiny = std::filesystem::path(kTestdata) / "models" / "tiny-llama-w4a8";
    model_ = LoadModel(tiny, *pool_);
    // The same with room for answers that take long.
    folder_ = std::make_unique<TempFolder>();
    EditModel(tiny, *folder_ / "long",
              [](EditableModel& model) { model.config["max_position_embeddings"] = kLong; });
    long_model_ = LoadModel(*folder_ / "long", *pool_);
  }
  static void TearDownTestSuite() {
    model_ = long_model_ = nullptr;
    folder_ = nullptr;
    pool_ = nullptr;
  }
  void TearDown() override {
    if (server_) server_->Stop();
    service_ = nullptr;
    server_ = nullptr;
  }

  // Listens, and has no model yet.
  void Listen() {
    options_.port = 0;
    options_.model_names = {"tiny"};
    options_.version = "test";
    options_.max_request_sequences = 16;
    server_ = std::make_unique<Server>(options_);
  }
  void Load(std::shared_ptr<const Model> model,
            const SchedulerOptions& scheduler = {.context = 256}, int64_t queue = 64) {
    format_ = std::make_unique<ChatFormat>(model->chat_templates, model->tokenizer);
    service_ = std::make_unique<Service>(model, *pool_, scheduler, queue);
    server_->Serve(*service_, format_.get());
    while (Get("/ready").status != 200) std::this_thread::yield();
  }
  void Start() {
    Listen();
    Load(model_);
  }
  void StartLong(int64_t max_sequences = 4, int64_t queue = 64) {
    Listen();
    Load(long_model_, {.context = kLong, .max_sequences = max_sequences}, queue);
  }

  ClientResponse Get(std::string_view path, std::string_view headers = {}) {
    Client client(server_->port());
    client.Request("GET", path, {}, headers);
    return client.Response();
  }
  ClientResponse Post(std::string_view path, const std::string& body,
                      std::string_view headers = {}) {
    Client client(server_->port());
    client.Request("POST", path, body, headers);
    return client.Response();
  }
  ClientResponse Post(std::string_view path, const Json& body, std::string_view headers = {}) {
    return Post(path, body.dump(), headers);
  }
  // A stream that takes many seconds if nothing ends it.
  static std::string LongRequest() {
    return R"({"prompt": "a", "max_tokens": 60000, "ignore_eos": true, "stream": true})";
  }
  // True once `f` is, within 20 s.
  static bool Comes(const std::function<bool()>& f) {
    for (int i = 0; i < 2000; ++i) {
      if (f()) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return false;
  }
  bool EngineIsIdle() {
    const ServiceStatistics s = service_->statistics();
    return s.running == 0 && s.waiting == 0;
  }

  static constexpr int64_t kLong = 65536;
  static inline std::unique_ptr<ThreadPool> pool_;
  static inline std::unique_ptr<TempFolder> folder_;
  static inline std::shared_ptr<const Model> model_, long_model_;
  ServerOptions options_;
  std::unique_ptr<Server> server_;
  std::unique_ptr<ChatFormat> format_;
  std::unique_ptr<Service> service_;
};

}  // namespace fptq
