#include "server/http_server.h"

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include "base/error.h"
#include "server/connection.h"

namespace fptq {
namespace {

using boost::asio::ip::tcp;
using boost::system::error_code;
using std::chrono::milliseconds;

// How often deadlines are looked at.
milliseconds SweepInterval(const HttpLimits& limits) {
  const milliseconds shortest = std::min(
      {limits.header_timeout, limits.body_timeout, limits.idle_timeout, limits.write_timeout});
  return std::clamp(shortest / 4, milliseconds(20), milliseconds(1000));
}

tcp::endpoint Resolve(boost::asio::io_context& io, const std::string& host, uint16_t port) {
  error_code error;
  tcp::resolver resolver(io);
  const auto found = resolver.resolve(host, std::to_string(port), tcp::resolver::passive, error);
  if (error || found.empty()) {
    throw Error("--host {}: expected an address or a name of this machine: {}", host,
                error.message());
  }
  return found.begin()->endpoint();
}

}  // namespace

struct HttpServer::State : ConnectionHost {
  State(const HttpLimits& limits_in, HttpHandler& handler_in)
      : limits_(limits_in),
        handler_(handler_in),
        budget_(limits_in.memory),
        acceptor(io),
        sweep(io),
        pause(io) {}

  const HttpLimits& limits() const override { return limits_; }
  HttpHandler& handler() override { return handler_; }
  Budget& budget() override { return budget_; }
  bool draining() const override { return draining_; }
  std::string& scratch() override { return scratch_; }
  void Remove(Connection& connection) override {
    connections.erase(connection.shared_from_this());
    if (accept_waits_for_room) Accept();
  }

  void Listen(const std::string& host_name, uint16_t port_number);
  void Accept();
  bool MakeRoom();
  void Sweep();
  void Repeat(size_t index);
  void Run();

  const HttpLimits limits_;
  HttpHandler& handler_;
  Budget budget_;
  std::string scratch_;
  bool draining_ = false;

  boost::asio::io_context io{1};
  tcp::acceptor acceptor;
  std::string host;
  uint16_t port = 0;
  std::set<std::shared_ptr<Connection>> connections;
  bool accept_waits_for_room = false;
  boost::asio::steady_timer sweep, pause;
  struct Repeated {
    milliseconds interval;
    std::function<void()> task;
    boost::asio::steady_timer timer;
  };
  std::vector<Repeated> repeated;
  std::thread thread;
};

void HttpServer::State::Listen(const std::string& host_name, uint16_t port_number) {
  const tcp::endpoint endpoint = Resolve(io, host_name, port_number);
  error_code error;
  acceptor.open(endpoint.protocol(), error);
  if (!error) acceptor.set_option(tcp::acceptor::reuse_address(true), error);
  if (!error) acceptor.bind(endpoint, error);
  if (!error) acceptor.listen(boost::asio::socket_base::max_listen_connections, error);
  if (error) {
    throw Error("cannot listen on {} port {}: {}", host_name, port_number, error.message());
  }
  host = acceptor.local_endpoint().address().to_string();
  port = acceptor.local_endpoint().port();
}

void HttpServer::State::Accept() {
  accept_waits_for_room = std::ssize(connections) >= limits_.connections && !MakeRoom();
  if (accept_waits_for_room) return;
  acceptor.async_accept([this](error_code error, tcp::socket socket) {
    if (error == boost::asio::error::operation_aborted) return;
    if (error) {  // no file descriptors are left, or the client is gone already
      pause.expires_after(milliseconds(100));
      pause.async_wait([this](error_code stopped) {
        if (!stopped) Accept();
      });
      return;
    }
    const auto connection = std::make_shared<Connection>(std::move(socket), *this);
    connections.insert(connection);
    connection->Start();
    Accept();
  });
}

// Closes the connection that has been idle for longest. False if none is idle.
bool HttpServer::State::MakeRoom() {
  std::shared_ptr<Connection> oldest;
  for (const auto& connection : connections) {
    if (!connection->idle()) continue;
    if (!oldest || connection->last_active() < oldest->last_active()) oldest = connection;
  }
  if (oldest) oldest->Close();
  return oldest != nullptr;
}

void HttpServer::State::Sweep() {
  sweep.expires_after(SweepInterval(limits_));
  sweep.async_wait([this](error_code stopped) {
    if (stopped) return;
    const Clock::time_point now = Clock::now();
    const std::vector<std::shared_ptr<Connection>> all(connections.begin(), connections.end());
    for (const auto& connection : all) connection->CheckDeadline(now);
    if (accept_waits_for_room) Accept();  // one may have become idle
    Sweep();
  });
}

void HttpServer::State::Repeat(size_t index) {
  Repeated& r = repeated[index];
  r.timer.expires_after(r.interval);
  r.timer.async_wait([this, index](error_code stopped) {
    if (stopped) return;
    repeated[index].task();
    Repeat(index);
  });
}

void HttpServer::State::Run() {
  while (!io.stopped()) {
    try {
      io.run();
    } catch (const std::exception& e) {
      handler_.OnFault(e.what());
    }
  }
}

HttpServer::HttpServer(const std::string& host, uint16_t port, const HttpLimits& limits,
                       HttpHandler& handler)
    : state_(std::make_unique<State>(limits, handler)) {
  state_->Listen(host, port);
}

HttpServer::~HttpServer() { Stop(); }

const std::string& HttpServer::host() const { return state_->host; }
uint16_t HttpServer::port() const { return state_->port; }
int64_t HttpServer::connections() const { return std::ssize(state_->connections); }
bool HttpServer::answering() const {
  return std::ranges::any_of(state_->connections, [](const auto& c) { return c->answering(); });
}
Budget& HttpServer::budget() { return state_->budget_; }

void HttpServer::Start() {
  State& s = *state_;
  s.Accept();
  s.Sweep();
  for (size_t i = 0; i < s.repeated.size(); ++i) s.Repeat(i);
  s.thread = std::thread([&s] { s.Run(); });
}

void HttpServer::Post(std::function<void()> task) {
  boost::asio::post(state_->io, std::move(task));
}

void HttpServer::PostEach(double seconds, std::function<void()> task) {
  state_->repeated.push_back({milliseconds(static_cast<int64_t>(seconds * 1000)), std::move(task),
                              boost::asio::steady_timer(state_->io)});
}

void HttpServer::Drain() {
  State& s = *state_;
  s.draining_ = true;
  const std::vector<std::shared_ptr<Connection>> all(s.connections.begin(), s.connections.end());
  for (const auto& connection : all) {
    if (connection->idle()) connection->Close();
  }
}

void HttpServer::Stop() {
  state_->io.stop();
  if (state_->thread.joinable()) state_->thread.join();
}

}  // namespace fptq
