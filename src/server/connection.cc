#include "server/connection.h"

#include <fmt/format.h>

#include <utility>

namespace fptq {
namespace {

using boost::asio::ip::tcp;
using boost::system::error_code;

constexpr std::chrono::milliseconds kLingerTimeout{2000};
constexpr size_t kReadChunk = 64 << 10;
// Responses up to here go out however little memory is left: they say so.
constexpr int64_t kSmallResponse = 16 << 10;

std::string AddressOf(const tcp::socket& socket) {
  error_code error;
  const auto end = socket.remote_endpoint(error);
  if (error) return "?";
  return fmt::format("{}:{}", end.address().to_string(), end.port());
}

}  // namespace

// The handler's side of a request. It outlives the connection if the handler holds it longer.
class Connection::Exchange : public HttpExchange {
 public:
  explicit Exchange(Connection& connection) : connection_(&connection) {}

  void Respond(HttpResponse response) override {
    if (connection_ == nullptr || connection_->phase_ != Phase::kAnswering) return;
    connection_->Respond(response, connection_->keep_alive_);
  }
  void BeginStream(HttpResponse head) override {
    if (connection_ == nullptr) return;
    Connection& c = *connection_;
    c.chunked_ = c.reader_.http_1_1();
    if (!c.chunked_) c.keep_alive_ = false;
    c.Send(HttpHeadText(head, std::nullopt, c.chunked_, c.keep_alive_));
    if (!head.body.empty()) Write(head.body);
  }
  void Write(std::string_view part) override {
    if (connection_ == nullptr || part.empty()) return;
    connection_->Send(connection_->chunked_ ? HttpChunk(part) : std::string(part));
  }
  void EndStream() override {
    if (connection_ == nullptr) return;
    Connection& c = *connection_;
    c.phase_ = Phase::kSending;
    c.Send(c.chunked_ ? HttpChunk("") : "");
  }
  void Abort() override {
    if (connection_ != nullptr) connection_->Close();
  }
  bool writable() const override { return connection_ != nullptr && !connection_->writing_; }
  bool gone() const override { return connection_ == nullptr; }

  void Detach() { connection_ = nullptr; }

 private:
  Connection* connection_;
};

Connection::Connection(tcp::socket socket, ConnectionHost& host)
    : socket_(std::move(socket)),
      host_(host),
      client_(AddressOf(socket_)),
      reader_(host.limits()),
      share_(host.budget()),
      last_active_(Clock::now()) {}

Connection::~Connection() = default;

void Connection::Start() {
  error_code ignored;
  socket_.set_option(tcp::no_delay(true), ignored);
  socket_.non_blocking(true, ignored);
  SetDeadline(host_.limits().idle_timeout);
  WaitForBytes();
}

void Connection::Close() {
  if (phase_ == Phase::kClosed) return;
  const auto self = shared_from_this();
  const bool unanswered = answering();
  phase_ = Phase::kClosed;
  error_code ignored;
  socket_.close(ignored);
  share_.Set(0);
  if (const auto exchange = std::exchange(exchange_, nullptr)) {
    exchange->Detach();
    if (unanswered && exchange->on_gone) exchange->on_gone();
    exchange->on_gone = exchange->on_writable = nullptr;
  }
  host_.Remove(*this);
}

void Connection::CheckDeadline(Clock::time_point now) {
  if (now < deadline_) return;
  const bool waits_for_request = phase_ == Phase::kReading && !reader_.idle();
  if (!waits_for_request || writing_) return Close();
  SendMalformed(408, "the request takes too long to come");
}

// Memory is taken when bytes are there, not while a connection waits for them. There is always
// somebody listening, so that a client that goes away is noticed.
void Connection::WaitForBytes() {
  socket_.async_wait(tcp::socket::wait_read, [self = shared_from_this()](error_code error) {
    if (self->phase_ == Phase::kClosed) return;
    if (error) return self->Close();
    self->ReadBytes();
  });
}

void Connection::ReadBytes() {
  std::string& scratch = host_.scratch();
  scratch.resize(kReadChunk);
  error_code error;
  const size_t count = socket_.read_some(boost::asio::buffer(scratch), error);
  if (error == boost::asio::error::would_block || error == boost::asio::error::try_again) {
    return WaitForBytes();
  }
  if (error) return Close();
  if (phase_ != Phase::kLingering) {
    last_active_ = Clock::now();
    reader_.Push(std::string_view(scratch).substr(0, count));
    const bool answering = phase_ != Phase::kReading;
    if (answering && reader_.state() == RequestReader::State::kFailed) return Close();
    if (!answering) Process();
  }
  if (phase_ != Phase::kClosed) WaitForBytes();
}

// As far as what was read goes.
void Connection::Process() {
  using State = RequestReader::State;
  while (phase_ == Phase::kReading) {
    if (!CountMemory()) {
      return SendMalformed(503, "the server has no memory left for this request; try again later");
    }
    switch (reader_.state()) {
      case State::kHeader:
        if (!reader_.idle() && !std::exchange(header_begun_, true)) {
          SetDeadline(host_.limits().header_timeout);
        }
        return;
      case State::kHead:
        BeginBody();
        break;
      case State::kBody:
        return;
      case State::kDone:
        return HandRequestOver();
      case State::kFailed:
        return SendMalformed(reader_.status(), reader_.error());
    }
  }
}

void Connection::BeginBody() {
  HttpHead head = reader_.head();
  head.client = client_;
  head_only_ = head.method == "HEAD";
  keep_alive_ = reader_.keep_alive() && !host_.draining();
  if (const auto refusal = host_.handler().Refuse(head)) {
    // The body stays unread, so nothing can come after it.
    return Respond(*refusal, keep_alive_ && !reader_.has_body());
  }
  if (reader_.has_body()) {
    SetDeadline(host_.limits().body_timeout);
    if (reader_.expects_continue()) Send("HTTP/1.1 100 Continue\r\n\r\n");
    if (phase_ == Phase::kClosed) return;
  }
  reader_.ReadBody();
}

void Connection::HandRequestOver() {
  phase_ = Phase::kAnswering;
  if (!writing_) ClearDeadline();
  exchange_ = std::make_shared<Exchange>(*this);
  HttpHead head = reader_.head();
  head.client = client_;
  // From here on the body's memory counts as the handler's: it may outlive the connection.
  std::string body = reader_.TakeBody();
  CountMemory();
  const auto exchange = exchange_;
  host_.handler().Handle(std::move(head), std::move(body), exchange);
}

void Connection::SendMalformed(int status, std::string_view message) {
  Respond(host_.handler().MalformedResponse(status, message, client_), /*keep_alive=*/false);
}

void Connection::Respond(const HttpResponse& response, bool keep_alive) {
  keep_alive_ = keep_alive;
  phase_ = Phase::kSending;
  std::string text = HttpHeadText(response, response.body.size(), /*chunked=*/false, keep_alive_);
  if (!head_only_ && response.status != 204) text += response.body;
  Send(std::move(text));
}

bool Connection::CountMemory() {
  return share_.Set(static_cast<int64_t>(reader_.held_bytes() + sending_.size() + waiting_.size()));
}

void Connection::Send(std::string bytes) {
  if (phase_ == Phase::kClosed) return;
  if (waiting_.empty()) {
    waiting_ = std::move(bytes);
  } else {
    waiting_ += bytes;
  }
  if (!CountMemory() && std::ssize(waiting_) > kSmallResponse) return Close();
  if (!writing_) WriteSome();
}

// A write may take a part; the time-out is for each part.
void Connection::WriteSome() {
  if (sent_ == sending_.size()) {
    sending_ = std::exchange(waiting_, {});
    sent_ = 0;
  }
  if (sending_.empty()) {
    writing_ = false;
    if (phase_ == Phase::kSending) FinishResponse();
    return;
  }
  writing_ = true;
  SetDeadline(host_.limits().write_timeout);
  socket_.async_write_some(boost::asio::buffer(sending_.data() + sent_, sending_.size() - sent_),
                           [self = shared_from_this()](error_code error, size_t bytes) {
                             if (self->phase_ == Phase::kClosed) return;
                             if (error) return self->Close();
                             self->OnWritten(bytes);
                           });
}

void Connection::OnWritten(size_t bytes) {
  sent_ += bytes;
  last_active_ = Clock::now();
  if (sent_ < sending_.size() || !waiting_.empty()) return WriteSome();
  writing_ = false;
  sending_.clear();
  sent_ = 0;
  switch (phase_) {
    case Phase::kReading:  // "100 Continue"
      return SetDeadline(host_.limits().body_timeout);
    case Phase::kAnswering: {
      ClearDeadline();
      const auto exchange = exchange_;
      if (exchange && exchange->on_writable) exchange->on_writable();
      return;
    }
    case Phase::kSending:
      return FinishResponse();
    case Phase::kLingering:
    case Phase::kClosed:
      return;
  }
}

void Connection::FinishResponse() {
  if (const auto exchange = std::exchange(exchange_, nullptr)) {
    exchange->Detach();
    exchange->on_gone = exchange->on_writable = nullptr;
  }
  sending_ = {};
  if (!keep_alive_ || host_.draining()) return Linger();
  phase_ = Phase::kReading;
  header_begun_ = false;
  SetDeadline(host_.limits().idle_timeout);
  reader_.Next();
  Process();
}

// Closed with bytes unread, the connection would be reset, and the client might not get to read the
// response.
void Connection::Linger() {
  phase_ = Phase::kLingering;
  share_.Set(0);
  error_code error;
  socket_.shutdown(tcp::socket::shutdown_send, error);
  if (error) return Close();
  SetDeadline(kLingerTimeout);
}

}  // namespace fptq
