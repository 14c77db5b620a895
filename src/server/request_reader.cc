#include "server/request_reader.h"

#include <fmt/format.h>

#include <boost/asio/buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>

#include "base/error.h"

namespace fptq {
namespace {

namespace http = boost::beast::http;
using boost::beast::string_view;

// Of a request that comes while the one before is answered, or of a line that does not end.
constexpr size_t kMostPending = 64 << 10;
// The end of any chunked body: 0, CRLF, CRLF. Beast's parser takes for granted that it sees as much
// of a last chunk of which it knows that it is one.
constexpr size_t kLeastLastChunk = 5;

std::string Text(string_view text) { return {text.data(), text.size()}; }

}  // namespace

struct RequestReader::Parser : http::request_parser<http::string_body> {};

RequestReader::RequestReader(const HttpLimits& limits) : limits_(limits) { Next(); }
RequestReader::~RequestReader() = default;

void RequestReader::Push(std::string_view bytes) {
  if (state_ == State::kFailed) return;
  pending_ += bytes;
  if (state_ == State::kHeader || state_ == State::kBody) {
    Advance();
  }
  if (state_ != State::kHead && pending_.size() > kMostPending) {
    Fail(400, "a line of the request, or a request that was sent too early, is too long");
  }
}

void RequestReader::ReadBody() {
  FPTQ_CHECK(state_ == State::kHead);
  state_ = State::kBody;
  Advance();
}

void RequestReader::Next() {
  parser_ = std::make_unique<Parser>();
  parser_->header_limit(static_cast<uint32_t>(limits_.header_bytes));
  parser_->body_limit(limits_.body_bytes);
  head_ = {};
  state_ = State::kHeader;
  Advance();
}

void RequestReader::Advance() {
  while (state_ == State::kHeader || state_ == State::kBody) {
    if (parser_->is_done()) {
      state_ = State::kDone;
      return;
    }
    if (pending_.empty()) return;
    if (state_ == State::kBody && parser_->chunked() && pending_.size() < kLeastLastChunk) return;
    boost::system::error_code error;
    const bool had_header = parser_->is_header_done();
    const size_t taken =
        parser_->put(boost::asio::const_buffer(pending_.data(), pending_.size()), error);
    pending_.erase(0, taken);
    if (error == http::error::need_more) {
      if (!had_header && parser_->is_header_done()) FinishHeader();
      return;
    }
    if (error == http::error::body_limit) {
      return Fail(413, fmt::format("the body: expected at most {} bytes", limits_.body_bytes));
    }
    if (error == http::error::header_limit) {
      return Fail(431, fmt::format("the header: expected at most {} bytes", limits_.header_bytes));
    }
    if (error) return Fail(400, "not HTTP/1.1: " + error.message());
    if (!had_header && parser_->is_header_done()) FinishHeader();
  }
}

void RequestReader::FinishHeader() {
  const auto& message = parser_->get();
  head_.method = Text(message.method_string());
  const std::string target = Text(message.target());
  const size_t question = target.find('?');
  const auto path = DecodePath(std::string_view(target).substr(0, question));
  if (!path) return Fail(400, "the path: expected two hexadecimal digits after each %");
  head_.path = *path;
  if (question != target.npos) head_.query = target.substr(question + 1);
  head_.authorization = Text(message[http::field::authorization]);
  head_.origin = Text(message[http::field::origin]);
  head_.host = Text(message[http::field::host]);
  head_.requested_method = Text(message[http::field::access_control_request_method]);
  head_.requested_headers = Text(message[http::field::access_control_request_headers]);
  state_ = State::kHead;
}

bool RequestReader::idle() const {
  return state_ == State::kHeader && pending_.empty() && !parser_->got_some();
}

size_t RequestReader::held_bytes() const { return pending_.size() + parser_->get().body().size(); }

const HttpHead& RequestReader::head() const { return head_; }

std::string RequestReader::TakeBody() {
  FPTQ_CHECK(state_ == State::kDone);
  return std::move(parser_->get().body());
}

bool RequestReader::keep_alive() const { return state_ != State::kFailed && parser_->keep_alive(); }
bool RequestReader::http_1_1() const { return parser_->get().version() >= 11; }

bool RequestReader::expects_continue() const {
  return boost::beast::iequals(parser_->get()[http::field::expect], "100-continue");
}

bool RequestReader::has_body() const {
  const auto length = parser_->content_length();
  return parser_->chunked() || (length && *length > 0);
}

void RequestReader::Fail(int status, std::string_view error) {
  state_ = State::kFailed;
  status_ = status;
  error_ = error;
}

}  // namespace fptq
