#include <algorithm>

#include "base/error.h"
#include "base/fuzz/target.h"
#include "base/utf8.h"
#include "server/access.h"
#include "server/answer_writer.h"
#include "server/api.h"
#include "server/request_reader.h"
#include "server/testing.h"

namespace fptq {
namespace {

const ApiContext& Context() {
  static const TinyText text;
  return text.context;
}

// What a call that was taken has to be, whatever the body was; the rest is the engine's to check.
void CheckCall(const AnswerCall& call, const ApiContext& context) {
  FPTQ_CHECK(call.n >= 1 && call.choices() <= context.max_sequences && !call.prompts.empty());
  FPTQ_CHECK(!call.echo || call.prompt_texts.size() == call.prompts.size());
  for (int64_t i = 0; i < call.choices(); ++i) {
    const Request request = call.ChoiceRequest(i);
    FPTQ_CHECK(!request.prompt.empty() && std::ssize(request.prompt) <= context.context);
    FPTQ_CHECK(request.max_tokens >= 0 && request.top_log_probabilities <= 20);
    Validate(request.sampling, context.tokenizer->ids());
    for (const int32_t token : request.prompt) FPTQ_CHECK(context.tokenizer->Contains(token));
  }
}

// An answer with a token of each kind; what is written is JSON.
void WriteAnswer(AnswerCall call, const ApiContext& context) {
  AnswerWriter writer(call, {"id", 0, "fuzz"}, *context.tokenizer);
  for (int64_t i = 0; i < call.choices(); ++i) {
    Delta delta;
    delta.text = "a";
    delta.prompt_log_probabilities = {{call.prompts[0][0], NAN, {}}};
    delta.log_probabilities = {{5, -1, {{7, -INFINITY}}}};
    writer.Add(i, std::move(delta));
    writer.End(i, {});
  }
  if (!call.stream) {
    Json::parse(writer.TakeResponse());
  } else {
    std::string events;  // the last part of them
    while (!writer.all_told()) {
      events = writer.TakeEvents();
      FPTQ_CHECK(!events.empty());
    }
    FPTQ_CHECK(events.ends_with("data: [DONE]\n\n"));
  }
}

template <typename F>
void Run(std::string_view input, F parse) {
  try {
    parse(ParseBody(input));
  } catch (const ApiError& e) {
    FPTQ_CHECK(e.status() >= 400 && e.status() < 500);
    const std::string text = ErrorJson(e).dump();  // throws if it is not UTF-8
    FPTQ_CHECK(text.size() < 4 * input.size() + 4096);
    throw;
  }
}

}  // namespace

FPTQ_FUZZ_TARGET(api_completion, kJson) {
  Run(input, [](const Json& body) {
    AnswerCall call = ParseCompletion(body, Context(), 1);
    CheckCall(call, Context());
    WriteAnswer(std::move(call), Context());
  });
}

FPTQ_FUZZ_TARGET(api_chat, kJson) {
  Run(input, [](const Json& body) {
    AnswerCall call = ParseChat(body, Context(), 1);
    CheckCall(call, Context());
    // However a conversation reads, it has the control tokens that the template wrote, and no more.
    const auto control = Context().tokenizer->TokenToId("<|im_start|>");
    const auto turns = std::ranges::count(call.prompts[0], *control);
    FPTQ_CHECK(turns <= std::ssize(body["messages"]) + 1);
    WriteAnswer(std::move(call), Context());
  });
}

FPTQ_FUZZ_TARGET(api_tokenize, kJson) {
  Run(input, [](const Json& body) {
    const Json result = Tokenize(body, Context());
    Detokenize({{"tokens", result["tokens"]}}, Context()).dump();
  });
}

// The same requests come out however their bytes are cut. What is wrong with the next one may be
// seen at once or at its end.
FPTQ_FUZZ_TARGET(http_request, kBytes) {
  HttpLimits limits;
  limits.header_bytes = 1 << 20;  // where it is measured from differs
  limits.body_bytes = 1 << 12;
  const auto read = [&](size_t piece) {
    RequestReader reader(limits);
    std::string seen;
    const auto take = [&] {
      using State = RequestReader::State;
      while (reader.state() == State::kHead || reader.state() == State::kDone) {
        if (reader.state() == State::kHead) {
          const HttpHead& head = reader.head();
          seen += head.method + ' ' + head.path + '?' + head.query + ' ' + head.origin + '\n';
          HasKey(head.authorization, {"key"});
          OriginMayAsk(head, {});
          reader.ReadBody();
        } else {
          seen += reader.TakeBody() + '\n';
          reader.Next();
        }
      }
    };
    for (size_t i = 0; i < input.size(); i += piece) {
      reader.Push(input.substr(i, piece));
      take();
    }
    FPTQ_CHECK(reader.held_bytes() <= input.size());
    return seen;
  };
  const std::string whole = read(input.size() + 1);
  FPTQ_CHECK(read(1) == whole);
  FPTQ_CHECK(read(7) == whole);
}

}  // namespace fptq
