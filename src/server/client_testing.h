// An HTTP client that sees each byte, for tests.
#pragma once

#include <arpa/inet.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace fptq {

struct ClientResponse {
  int status = 0;                              // 0: the connection ended before
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
    Send(fmt::format("{} {} HTTP/1.1\r\nHost: test\r\n{}Content-Length: {}\r\n\r\n{}", method, path,
                     headers, body.size(), body));
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
