#include "server/answer_writer.h"

#include <gtest/gtest.h>

#include <cmath>

#include "server/testing.h"

namespace fptq {
namespace {

class AnswerWriterTest : public testing::Test {
 protected:
  static void SetUpTestSuite() { text_ = std::make_unique<TinyText>(); }
  static void TearDownTestSuite() { text_.reset(); }

  static AnswerCall Call(AnswerKind kind, const Json& more) {
    Json body = kind == AnswerKind::kChat
                    ? Json{{"messages", {{{"role", "user"}, {"content", "Hello"}}}}}
                    : Json{{"prompt", "Hello"}};
    body.update(more);
    return kind == AnswerKind::kChat ? ParseChat(body, text_->context, 0)
                                     : ParseCompletion(body, text_->context, 0);
  }
  static AnswerWriter Writer(const AnswerCall& call) {
    return AnswerWriter(call, {"id", 1234, "fptq-1"}, text_->tokenizer);
  }
  static Delta Said(std::string text, std::vector<TokenLogProbability> log_probabilities = {}) {
    Delta delta;
    delta.text = std::move(text);
    delta.log_probabilities = std::move(log_probabilities);
    return delta;
  }
  static Finish Ended(FinishReason reason) {
    Finish finish;
    finish.reason = reason;
    finish.prompt_tokens = 10;
    finish.cached_tokens = 4;
    finish.completion_tokens = 3;
    finish.decode_seconds = 0.5;
    return finish;
  }
  static int32_t Token(std::string_view text) {
    const auto tokens = text_->tokenizer.Encode(text, {.add_prefix = false});
    EXPECT_EQ(tokens.size(), 1u) << text;
    return tokens.at(0);
  }
  // The events' data; the last one has to be [DONE].
  static std::vector<Json> Events(const std::string& text, bool done) {
    std::vector<Json> events;
    size_t begin = 0;
    for (size_t end; (end = text.find("\n\n", begin)) != text.npos; begin = end + 2) {
      EXPECT_EQ(text.substr(begin, 6), "data: ");
      const std::string data = text.substr(begin + 6, end - begin - 6);
      if (data == "[DONE]") {
        EXPECT_TRUE(done && end + 2 == text.size());
      } else {
        events.push_back(Json::parse(data));
      }
    }
    EXPECT_EQ(begin, text.size());
    EXPECT_EQ(text.ends_with("data: [DONE]\n\n"), done);
    return events;
  }

  static inline std::unique_ptr<TinyText> text_;
};

TEST_F(AnswerWriterTest, WholeCompletion) {
  AnswerWriter writer = Writer(Call(AnswerKind::kCompletion, {{"n", 2}}));
  writer.Add(1, Said("b"));
  writer.Add(0, Said("a"));
  writer.Add(0, Said("c\"\n"));
  writer.End(1, Ended(FinishReason::kMaxTokens));
  EXPECT_FALSE(writer.ended());
  writer.End(0, Ended(FinishReason::kStopString));
  ASSERT_TRUE(writer.ended());
  EXPECT_EQ(writer.error(), "");
  const Json response = Json::parse(writer.TakeResponse());
  EXPECT_EQ(response["id"], "cmpl-id");
  EXPECT_EQ(response["object"], "text_completion");
  EXPECT_EQ(response["created"], 1234);
  EXPECT_EQ(response["model"], "tiny");
  EXPECT_EQ(
      response["choices"],
      Json::parse(R"([{"index": 0, "text": "ac\"\n", "logprobs": null, "finish_reason": "stop"},
                            {"index": 1, "text": "b", "logprobs": null, "finish_reason": "length"}])"));
  // The prompt counts once, the answers both.
  EXPECT_EQ(response["usage"],
            Json::parse(R"({"prompt_tokens": 10, "completion_tokens": 6, "total_tokens": 16,
                            "prompt_tokens_details": {"cached_tokens": 4}})"));
  EXPECT_EQ(response["timings"]["decode_seconds"], 0.5);
}

TEST_F(AnswerWriterTest, WholeChat) {
  AnswerWriter writer = Writer(Call(AnswerKind::kChat, Json::object()));
  writer.Add(0, Said("Hi"));
  writer.End(0, Ended(FinishReason::kStopToken));
  const Json response = Json::parse(writer.TakeResponse());
  EXPECT_EQ(response["id"], "chatcmpl-id");
  EXPECT_EQ(response["object"], "chat.completion");
  EXPECT_EQ(response["choices"],
            Json::parse(
                R"([{"index": 0, "message": {"role": "assistant", "content": "Hi", "refusal": null},
                            "logprobs": null, "finish_reason": "stop"}])"));
}

TEST_F(AnswerWriterTest, StreamedChat) {
  AnswerWriter writer = Writer(
      Call(AnswerKind::kChat, {{"stream", true}, {"stream_options", {{"include_usage", true}}}}));
  EXPECT_EQ(writer.TakeEvents(), "");
  writer.Add(0, Said(""));  // a token whose text is held back
  EXPECT_EQ(writer.TakeEvents(), "");
  writer.Add(0, Said("Hi"));
  std::vector<Json> events = Events(writer.TakeEvents(), false);
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(events[0]["object"], "chat.completion.chunk");
  EXPECT_EQ(events[0]["choices"][0]["delta"], (Json{{"role", "assistant"}, {"content", ""}}));
  EXPECT_TRUE(events[0]["usage"].is_null());
  EXPECT_EQ(events[1]["choices"][0]["delta"], (Json{{"content", "Hi"}}));
  EXPECT_TRUE(events[1]["choices"][0]["finish_reason"].is_null());
  // What comes while nobody takes it is one chunk.
  writer.Add(0, Said(" the"));
  writer.Add(0, Said("re"));
  EXPECT_EQ(writer.held_bytes(), 6);
  events = Events(writer.TakeEvents(), false);
  EXPECT_EQ(writer.held_bytes(), 0);
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0]["choices"][0]["delta"], (Json{{"content", " there"}}));
  writer.End(0, Ended(FinishReason::kStopToken));
  events = Events(writer.TakeEvents(), true);
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(events[0]["choices"][0]["delta"], Json::object());
  EXPECT_EQ(events[0]["choices"][0]["finish_reason"], "stop");
  EXPECT_EQ(events[1]["choices"], Json::array());
  EXPECT_EQ(events[1]["usage"]["completion_tokens"], 3);
  EXPECT_EQ(writer.TakeEvents(), "");
}

TEST_F(AnswerWriterTest, StreamedCompletionOfTwoChoices) {
  AnswerWriter writer =
      Writer(Call(AnswerKind::kCompletion, {{"stream", true}, {"n", 2}, {"echo", true}}));
  writer.Add(1, Said("b"));
  std::vector<Json> events = Events(writer.TakeEvents(), false);
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(events[0]["choices"][0]["text"], "Hello");
  EXPECT_EQ(events[1]["choices"][0]["text"], "Hellob");
  EXPECT_EQ(events[1]["choices"][0]["index"], 1);
  EXPECT_FALSE(events[1].contains("usage"));
  writer.End(0, Ended(FinishReason::kMaxTokens));
  EXPECT_EQ(Events(writer.TakeEvents(), false).size(), 1u);
  writer.End(1, Ended(FinishReason::kMaxTokens));
  EXPECT_EQ(Events(writer.TakeEvents(), true).size(), 1u);
}

TEST_F(AnswerWriterTest, LogProbabilitiesOfCompletions) {
  AnswerWriter writer =
      Writer(Call(AnswerKind::kCompletion, {{"prompt", "ab"}, {"echo", true}, {"logprobs", 1}}));
  const int32_t a = Token("a"), b = Token("b"), special = *text_->tokenizer.TokenToId("<|im_end|>");
  Delta delta = Said("ba");
  delta.prompt_log_probabilities = {{a, NAN, {}}, {b, -0.1, {{a, -0.05}}}};
  delta.log_probabilities = {
      {special, -INFINITY, {{b, -0.2}}}, {b, -0.3, {{b, -0.3}}}, {a, -4, {}}};
  writer.Add(0, delta);
  writer.End(0, Ended(FinishReason::kMaxTokens));
  const Json choice = Json::parse(writer.TakeResponse())["choices"][0];
  EXPECT_EQ(choice["text"], "abba");
  EXPECT_EQ(choice["logprobs"], Json::parse(R"({
      "tokens": ["a", "b", "<|im_end|>", "b", "a"],
      "token_logprobs": [null, -0.1, -9999.0, -0.3, -4.0],
      "top_logprobs": [null, {"a": -0.05, "b": -0.1}, {"b": -0.2, "<|im_end|>": -9999.0}, {"b": -0.3},
                       {"a": -4.0}],
      "text_offset": [0, 1, 2, 2, 3]})"));
}

TEST_F(AnswerWriterTest, OffsetsGoOnThroughAStream) {
  AnswerWriter writer = Writer(Call(AnswerKind::kCompletion, {{"stream", true}, {"logprobs", 0}}));
  const int32_t a = Token("a");
  writer.Add(0, Said("a", {{a, -1, {}}}));
  writer.TakeEvents();
  writer.Add(0, Said("a", {{a, -2, {}}}));
  const Json logprobs = Events(writer.TakeEvents(), false)[0]["choices"][0]["logprobs"];
  EXPECT_EQ(logprobs["text_offset"], Json::array({1}));
  EXPECT_EQ(logprobs["top_logprobs"], Json::array({Json{{"a", -2.0}}}));
}

TEST_F(AnswerWriterTest, LongListsComeInParts) {
  AnswerWriter writer =
      Writer(Call(AnswerKind::kCompletion, {{"stream", true}, {"logprobs", 0}, {"echo", true}}));
  Delta delta = Said("b");
  for (int i = 0; i < 600; ++i)
    delta.prompt_log_probabilities.push_back({Token("a"), -1.0 * i, {}});
  writer.Add(0, delta);
  writer.End(0, Ended(FinishReason::kMaxTokens));
  int next = 0, calls = 0;
  for (; !writer.all_told(); ++calls) {
    const std::string text = writer.TakeEvents();
    const Json choice = Events(text, writer.all_told()).at(0)["choices"][0];
    EXPECT_EQ(choice["text"], calls == 0 ? "Hellob" : "");
    EXPECT_EQ(choice["finish_reason"].is_null(), !writer.all_told());
    for (const Json& value : choice["logprobs"]["token_logprobs"]) EXPECT_EQ(value, -next++);
    EXPECT_EQ(writer.held_bytes() > 0, !writer.all_told());
  }
  EXPECT_EQ(next, 600);
  EXPECT_EQ(calls, 3);
}

TEST_F(AnswerWriterTest, LogProbabilitiesThatNobodyAskedForAreDropped) {
  AnswerWriter writer = Writer(Call(AnswerKind::kCompletion, {{"stream", true}}));
  EXPECT_EQ(writer.Add(0, Said("a", {{Token("a"), -1, {}}})), 1);
  writer.End(0, Ended(FinishReason::kMaxTokens));
  const Json choice = Events(writer.TakeEvents(), true).at(0)["choices"][0];
  EXPECT_TRUE(choice["logprobs"].is_null());
  EXPECT_TRUE(writer.all_told());
}

TEST_F(AnswerWriterTest, LogProbabilitiesOfChatsHaveBytes) {
  const int32_t a = Token("a");
  int32_t part = -1;  // a byte that is no character
  for (const int32_t id : text_->tokenizer.ids()) {
    if (text_->tokenizer.TokenBytes(id) == "\xc3") part = id;
  }
  ASSERT_NE(part, -1);
  AnswerWriter writer = Writer(Call(AnswerKind::kChat, {{"logprobs", true}, {"top_logprobs", 1}}));
  writer.Add(0, Said("a", {{a, -0.5, {{part, -0.25}}}}));
  writer.End(0, Ended(FinishReason::kStopToken));
  const Json logprobs = Json::parse(writer.TakeResponse())["choices"][0]["logprobs"];
  EXPECT_EQ(logprobs["content"], Json::parse(R"([{"token": "a", "logprob": -0.5, "bytes": [97],
      "top_logprobs": [{"token": "\ufffd", "logprob": -0.25, "bytes": [195]}]}])"));
  const TokenTexts texts{&text_->tokenizer, false}, ids{&text_->tokenizer, true};
  EXPECT_EQ(texts.WithBytes(part), "bytes:\\xc3");
  EXPECT_EQ(ids.WithBytes(7), "token_id:7");
}

// The numbers that clients read are those of the model, to the last bit.
TEST_F(AnswerWriterTest, LogProbabilitiesKeepTheirBits) {
  AnswerWriter writer = Writer(Call(AnswerKind::kCompletion, {{"logprobs", 0}}));
  const double exact = -std::nextafter(1.0 / 3, 1);
  writer.Add(0, Said("a", {{Token("a"), exact, {}}}));
  writer.End(0, Ended(FinishReason::kMaxTokens));
  const Json logprobs = Json::parse(writer.TakeResponse())["choices"][0]["logprobs"];
  EXPECT_EQ(logprobs["token_logprobs"][0].get<double>(), exact);
}

TEST_F(AnswerWriterTest, ErrorsAreTold) {
  AnswerWriter writer = Writer(Call(AnswerKind::kCompletion, {{"n", 2}}));
  Finish finish = Ended(FinishReason::kError);
  finish.error = "logits are NaN";
  writer.End(0, finish);
  EXPECT_EQ(writer.error(), "logits are NaN");
  writer.End(1, Ended(FinishReason::kCancelled));
  EXPECT_EQ(writer.error(), "logits are NaN");
}

}  // namespace
}  // namespace fptq
