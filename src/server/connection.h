// A connection of the server, on its I/O thread. Internal to http_server.cc and connection.cc, the
// only files that know Asio's sockets.
#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <chrono>
#include <memory>
#include <string>

#include "server/budget.h"
#include "server/http.h"
#include "server/request_reader.h"

namespace fptq {

class Connection;
using Clock = std::chrono::steady_clock;

// What connections know of their server.
class ConnectionHost {
 public:
  virtual ~ConnectionHost() = default;
  virtual const HttpLimits& limits() const = 0;
  virtual HttpHandler& handler() = 0;
  virtual Budget& budget() = 0;
  virtual bool draining() const = 0;
  virtual std::string& scratch() = 0;  // what is read goes through it
  virtual void Remove(Connection& connection) = 0;
};

class Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(boost::asio::ip::tcp::socket socket, ConnectionHost& host);
  ~Connection();

  void Start();
  void Close();  // at once
  // No request is there, nor a part of one.
  bool idle() const { return phase_ == Phase::kReading && reader_.idle(); }
  bool answering() const { return phase_ == Phase::kAnswering || phase_ == Phase::kSending; }
  Clock::time_point last_active() const { return last_active_; }
  void CheckDeadline(Clock::time_point now);

 private:
  class Exchange;
  enum class Phase {
    kReading,
    kAnswering,  // the handler has the request
    kSending,    // the rest of the response
    kLingering,  // the response is sent; what still comes is thrown away, so that it arrives
    kClosed,
  };

  void WaitForBytes();
  void ReadBytes();
  void Process();
  void BeginBody();
  void HandRequestOver();
  void SendMalformed(int status, std::string_view message);
  void Respond(const HttpResponse& response, bool keep_alive);
  void Send(std::string bytes);
  bool CountMemory();
  void WriteSome();
  void OnWritten(size_t bytes);
  void FinishResponse();
  void Linger();
  void SetDeadline(std::chrono::milliseconds timeout) { deadline_ = Clock::now() + timeout; }
  void ClearDeadline() { deadline_ = Clock::time_point::max(); }

  boost::asio::ip::tcp::socket socket_;
  ConnectionHost& host_;
  std::string client_;
  RequestReader reader_;
  Budget::Share share_;
  Phase phase_ = Phase::kReading;
  Clock::time_point deadline_ = Clock::time_point::max(), last_active_;
  bool header_begun_ = false;
  bool keep_alive_ = true;  // after the response that is being sent
  bool head_only_ = false;  // a HEAD request: no body goes out
  bool chunked_ = false;    // the stream that is being sent
  std::shared_ptr<Exchange> exchange_;
  std::string sending_, waiting_;  // what is given to the socket, what comes next
  size_t sent_ = 0;                // of sending_
  bool writing_ = false;
};

}  // namespace fptq
