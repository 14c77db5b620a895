#include "server/http.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/test_util.h"
#include "server/access.h"
#include "server/budget.h"
#include "server/request_reader.h"

namespace fptq {
namespace {

using State = RequestReader::State;

constexpr std::string_view kPost =
    "POST /v1/mod%65ls?a=b HTTP/1.1\r\nHost: here\r\nAuthorization: Bearer k\r\nOrigin: "
    "http://x\r\n"
    "Content-Length: 5\r\n\r\nhello";

// What the reader makes of bytes that come in pieces of this size.
struct Read {
  State state = State::kHeader;
  int status = 0;
  HttpHead head;
  std::string body;
};
Read ReadAll(std::string_view bytes, size_t piece, const HttpLimits& limits = {}) {
  RequestReader reader(limits);
  for (size_t i = 0; i < bytes.size(); i += piece) {
    reader.Push(bytes.substr(i, piece));
    if (reader.state() == State::kHead) reader.ReadBody();
  }
  Read result{reader.state(), reader.status(), reader.head(), {}};
  if (reader.state() == State::kDone) result.body = reader.TakeBody();
  return result;
}

TEST(RequestReaderTest, ReadsARequestHoweverItIsCut) {
  for (const size_t piece : {size_t{1}, size_t{2}, size_t{7}, kPost.size()}) {
    const Read read = ReadAll(kPost, piece);
    ASSERT_EQ(read.state, State::kDone) << piece;
    EXPECT_EQ(read.head.method, "POST");
    EXPECT_EQ(read.head.path, "/v1/models");
    EXPECT_EQ(read.head.query, "a=b");
    EXPECT_EQ(read.head.host, "here");
    EXPECT_EQ(read.head.authorization, "Bearer k");
    EXPECT_EQ(read.head.origin, "http://x");
    EXPECT_EQ(read.body, "hello");
  }
}

TEST(RequestReaderTest, StopsAtTheHead) {
  const HttpLimits limits;
  RequestReader reader(limits);
  EXPECT_TRUE(reader.idle());
  reader.Push("G");
  EXPECT_FALSE(reader.idle());
  reader.Push("ET / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n");
  ASSERT_EQ(reader.state(), State::kHead);
  EXPECT_TRUE(reader.expects_continue() && reader.has_body() && reader.keep_alive());
  reader.ReadBody();
  EXPECT_EQ(reader.state(), State::kBody);
  reader.Push("x");
  EXPECT_EQ(reader.state(), State::kDone);
}

TEST(RequestReaderTest, RequestsFollowEachOther) {
  const HttpLimits limits;
  RequestReader reader(limits);
  reader.Push(std::string(kPost) + "GET /b HTTP/1.0\r\n\r\n");
  reader.ReadBody();
  ASSERT_EQ(reader.state(), State::kDone);
  EXPECT_EQ(reader.TakeBody(), "hello");
  reader.Next();
  ASSERT_EQ(reader.state(), State::kHead);
  EXPECT_EQ(reader.head().path, "/b");
  EXPECT_FALSE(reader.keep_alive() || reader.http_1_1() || reader.has_body());
  reader.ReadBody();
  reader.Next();
  EXPECT_TRUE(reader.idle());
  EXPECT_EQ(reader.held_bytes(), 0u);
}

TEST(RequestReaderTest, ReadsChunks) {
  const Read read = ReadAll(
      "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\n\r\n",
      3);
  EXPECT_EQ(read.state, State::kDone);
  EXPECT_EQ(read.body, "hello");
  const Read empty =
      ReadAll("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: b\r\n\r\n", 1);
  EXPECT_EQ(empty.state, State::kDone);
  EXPECT_EQ(empty.body, "");
}

TEST(RequestReaderTest, RefusesWhatIsTooLarge) {
  HttpLimits limits;
  limits.body_bytes = 4;
  EXPECT_EQ(ReadAll(kPost, 1, limits).status, 413);
  EXPECT_EQ(
      ReadAll("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", 1, limits)
          .status,
      413);
  limits.header_bytes = 100;
  const std::string field = "X: " + std::string(200, 'x') + "\r\n";
  EXPECT_EQ(ReadAll("GET / HTTP/1.1\r\n" + field + "\r\n", 1, limits).status, 431);
  EXPECT_EQ(ReadAll("GET /" + std::string(200, 'x'), 1, limits).status, 431);
  // A chunk's line that does not end.
  const std::string endless =
      "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;" + std::string(70'000, 'x');
  EXPECT_EQ(ReadAll(endless, 1000).state, State::kFailed);
}

TEST(RequestReaderTest, RefusesWhatIsNoRequest) {
  for (const char* bad :
       {"hello\r\n\r\n", "GET / HTTP/2.0\r\n\r\n", "GET / HTTP/1.1\r\nbad\r\n\r\n",
        "GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n", "GET /%4 HTTP/1.1\r\n\r\n",
        "GET /%zz HTTP/1.1\r\n\r\n", "\x16\x03\x01\x02\x00\x01\x00",
        "POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"}) {
    EXPECT_EQ(ReadAll(bad, 1).status, 400) << bad;
  }
  // Requests that are sent while one is answered may wait, but not any number.
  const HttpLimits limits;
  RequestReader reader(limits);
  reader.Push(kPost);
  reader.ReadBody();
  reader.Push(std::string(60'000, 'x'));
  EXPECT_EQ(reader.state(), State::kDone);
  reader.Push(std::string(60'000, 'x'));
  EXPECT_EQ(reader.state(), State::kFailed);
}

TEST(HttpTest, WritesHeadsAndChunks) {
  HttpResponse response{.status = 404, .body = {}, .headers = {{"Allow", "GET"}}};
  EXPECT_EQ(HttpHeadText(response, 5, false, true),
            "HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\nContent-Length: 5\r\n"
            "Allow: GET\r\nConnection: keep-alive\r\n\r\n");
  EXPECT_EQ(HttpHeadText({.status = 200, .body = {}}, std::nullopt, true, false),
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n"
            "Connection: close\r\n\r\n");
  EXPECT_EQ(HttpChunk("hello hello hello"), "11\r\nhello hello hello\r\n");
  EXPECT_EQ(HttpChunk(""), "0\r\n\r\n");
}

TEST(AccessTest, OneOfTheKeysIsNeeded) {
  const std::vector<std::string> keys = {"first", "second-key"};
  EXPECT_TRUE(HasKey("Bearer first", keys));
  EXPECT_TRUE(HasKey("bearer second-key", keys));
  for (const char* bad : {"", "Bearer ", "Bearer", "first", "Basic first", "Bearer firs",
                          "Bearer firstt", "Bearer firstfirst", "Bearer First"}) {
    EXPECT_FALSE(HasKey(bad, keys)) << bad;
  }
}

TEST(AccessTest, PagesOfOthersNeedToBeListed) {
  HttpHead head;
  head.host = "127.0.0.1:8000";
  AccessOptions options;
  EXPECT_TRUE(OriginMayAsk(head, options));  // no browser
  head.origin = "http://127.0.0.1:8000";
  EXPECT_TRUE(OriginMayAsk(head, options));
  EXPECT_TRUE(CorsHeaders(head, options).empty());
  head.origin = "http://evil.example";
  EXPECT_FALSE(OriginMayAsk(head, options));
  head.origin = "null";
  EXPECT_FALSE(OriginMayAsk(head, options));
  options.cors_origins = {"https://good.example"};
  head.origin = "https://good.example";
  EXPECT_TRUE(OriginMayAsk(head, options));
  EXPECT_EQ(CorsHeaders(head, options)[0].second, "https://good.example");
  head.origin = "https://good.example.evil";
  EXPECT_FALSE(OriginMayAsk(head, options));
  EXPECT_EQ(CorsHeaders(head, options).size(), 1u);  // Vary alone
  options.cors_origins = {"*"};
  EXPECT_TRUE(OriginMayAsk(head, options));
}

TEST(AccessTest, ReadsKeys) {
  EXPECT_EQ(ParseKeys("a\n\nbb\r\nc", "keys"), (std::vector<std::string>{"a", "bb", "c"}));
}

TEST(AccessTest, RefusesKeysThatCannotBeSent) {
  EXPECT_ERROR("keys: line 3: expected a key", ParseKeys("a\n\nb c\n", "keys"));
  EXPECT_ERROR("keys: expected a key on each line, found none", ParseKeys("\n\n", "keys"));
}

TEST(BudgetTest, SharesGiveBackWhatTheyTook) {
  Budget budget(10);
  {
    Budget::Share a(budget), b(budget);
    EXPECT_TRUE(a.Set(6));
    EXPECT_FALSE(b.Set(5));
    EXPECT_EQ(b.bytes(), 0);
    EXPECT_TRUE(b.Set(4));
    EXPECT_FALSE(a.Set(7));
    EXPECT_TRUE(a.Set(1));
    EXPECT_EQ(budget.used(), 5);
  }
  EXPECT_EQ(budget.used(), 0);
}

}  // namespace
}  // namespace fptq
