// Bytes of a connection in, requests out. Knows no sockets, so that it can be tested and fuzzed.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "server/http.h"

namespace fptq {

class RequestReader {
 public:
  enum class State {
    kHeader,  // more of the header is needed, be it that no byte has come
    kHead,    // head() is there; ReadBody() goes on
    kBody,    // more of the body is needed
    kDone,    // TakeBody(); Next() goes on to the next request
    kFailed,  // status() and error() say why; nothing goes on
  };

  explicit RequestReader(const HttpLimits& limits);  // which must outlive it
  ~RequestReader();

  // Takes what came. Which requests come out does not depend on how their bytes were cut.
  void Push(std::string_view bytes);
  void ReadBody();
  void Next();

  State state() const { return state_; }
  bool idle() const;             // no byte of a request is there
  size_t held_bytes() const;     // of the body, and of what came after the request
  const HttpHead& head() const;  // from kHead on
  std::string TakeBody();
  bool keep_alive() const;        // the client wants more from this connection
  bool http_1_1() const;          // knows chunks
  bool expects_continue() const;  // waits for "100 Continue" before it sends the body
  bool has_body() const;          // says that one comes
  int status() const { return status_; }
  const std::string& error() const { return error_; }

 private:
  struct Parser;
  void Advance();
  void FinishHeader();
  void Fail(int status, std::string_view error);

  const HttpLimits& limits_;
  std::unique_ptr<Parser> parser_;
  std::string pending_;  // not taken by the parser yet
  State state_ = State::kHeader;
  HttpHead head_;
  int status_ = 0;
  std::string error_;
};

}  // namespace fptq
