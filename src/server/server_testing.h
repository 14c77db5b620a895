// A server on the loopback address over a tiny model, and a client that sees each byte.
#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <thread>

#include "base/json.h"
#include "base/test_util.h"
#include "engine/service.h"
#include "model/testing.h"
#include "server/server.h"

namespace fptq {

struct ClientResponse {
  int status = 0;  // 0: the connection ended before
  std::map<std::string, std::string> headers;  // names in lower case
  std::string body;

  Json json() const { return Json::parse(body); }
};

// A connection. Whatever it waits for comes within 20 s, or a test fails.
class Client {
 public:
  explicit Client(uint16_t port) : socket_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const timeval timeout = {20, 0};
    setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
    setsockopt(socket_, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
    EXPECT_EQ(connect(socket_, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  }
  ~Client() { Close(); }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  void Close() {
    if (socket_ >= 0) close(socket_);
    socket_ = -1;
  }
  void SetReceiveBuffer(int bytes) {
    setsockopt(socket_, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
  }

  // False if the server has closed.
  bool Send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t sent = send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) return false;
      bytes.remove_prefix(static_cast<size_t>(sent));
    }
    return true;
  }
  void Request(std::string_view method, std::string_view path, std::string_view body = {},
               std::string_view headers = {}) {
    Send(fmt::format("{} {} HTTP/1.1\r\nHost: test\r\n{}Content-Length: {}\r\n\r\n{}", method,
                     path, headers, body.size(), body));
  }
  // Reads a whole response, whatever form its body has.
  ClientResponse Response(bool has_body = true) {
    ClientResponse response;
    if (!ReadUntil("\r\n\r\n")) return response;
    const size_t end = buffer_.find("\r\n\r\n");
    ParseHead(buffer_.substr(0, end + 2), response);
    buffer_.erase(0, end + 4);
    if (!has_body) return response;
    if (response.headers.contains("content-length")) {
      const size_t length = std::stoul(response.headers["content-length"]);
      while (buffer_.size() < length && Receive()) {
      }
      response.body = buffer_.substr(0, length);
      buffer_.erase(0, length);
    } else if (response.headers.contains("transfer-encoding")) {
      while (ReadChunk(response.body)) {
      }
    } else {
      while (Receive()) {
      }
      response.body = std::move(buffer_);
    }
    return response;
  }
  // Whether `text` comes. It stays to be read.
  bool ReadUntil(std::string_view text) {
    while (buffer_.find(text) == buffer_.npos) {
      if (!Receive()) return false;
    }
    return true;
  }
  // Whether the server ends the connection, be it after more bytes.
  bool Ends() {
    while (Receive()) {
    }
    return ended_;
  }

 private:
  bool Receive() {
    char bytes[16384];
    const ssize_t count = recv(socket_, bytes, sizeof(bytes), 0);
    if (count > 0) buffer_.append(bytes, static_cast<size_t>(count));
    ended_ = count == 0 || (count < 0 && errno == ECONNRESET);
    return count > 0;
  }
  bool ReadChunk(std::string& body) {
    if (!ReadUntil("\r\n")) return false;
    const size_t length = std::stoul(buffer_, nullptr, 16);
    const size_t begin = buffer_.find("\r\n") + 2;
    while (buffer_.size() < begin + length + 2 && Receive()) {
    }
    body += buffer_.substr(begin, length);
    buffer_.erase(0, begin + length + 2);
    return length > 0;
  }
  static void ParseHead(const std::string& head, ClientResponse& response) {
    response.status = std::stoi(head.substr(head.find(' ') + 1));
    size_t begin = head.find("\r\n") + 2;
    for (size_t end; (end = head.find("\r\n", begin)) != head.npos; begin = end + 2) {
      std::string line = head.substr(begin, end - begin);
      const size_t colon = line.find(": ");
      for (size_t i = 0; i < colon; ++i) line[i] = static_cast<char>(std::tolower(line[i]));
      response.headers[line.substr(0, colon)] = line.substr(colon + 2);
    }
  }

  int socket_;
  std::string buffer_;
  bool ended_ = false;
};

class ServerTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    pool_ = std::make_unique<ThreadPool>(1);
    const auto tiny = std::filesystem::path(FPTQ_TESTDATA) / "models" / "tiny-llama-w4a8";
    model_ = LoadModel(tiny, *pool_);
    // The same with room for answers that take long.
    folder_ = std::make_unique<TempFolder>();
    EditModel(tiny, *folder_ / "long", [](EditableModel& model) {
      model.config["max_position_embeddings"] = kLong;
    });
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
  void Load(std::shared_ptr<const Model> model, const SchedulerOptions& scheduler = {.context = 256},
            int64_t queue = 64) {
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

// The data of a stream's events.
inline std::vector<std::string> EventsOf(std::string_view body) {
  std::vector<std::string> events;
  for (size_t end; (end = body.find("\n\n")) != body.npos; body.remove_prefix(end + 2)) {
    EXPECT_TRUE(body.starts_with("data: "));
    events.emplace_back(body.substr(6, end - 6));
  }
  EXPECT_EQ(body, "");
  return events;
}

}  // namespace fptq
