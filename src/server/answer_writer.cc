#include "server/answer_writer.h"

#include <algorithm>
#include <iterator>
#include <span>
#include <utility>

#include "base/json.h"

namespace fptq {
namespace {

// Null while the answer goes on.
Json FinishReasonText(const std::optional<Finish>& finish) {
  if (!finish) return nullptr;
  switch (finish->reason) {
    case FinishReason::kStopToken:
    case FinishReason::kStopString:
      return "stop";
    case FinishReason::kMaxTokens:
    case FinishReason::kContextFull:
    case FinishReason::kDeadline:
      return "length";
    case FinishReason::kCancelled:
    case FinishReason::kError:
      return "error";
  }
  FPTQ_CHECK(false);
  return nullptr;
}

// Log-probabilities that a chunk of a stream has at most: those of a long prompt go out in parts,
// so that other streams go on between them.
constexpr size_t kTokensOfChunk = 256;

int64_t BytesOf(const std::vector<TokenLogProbability>& tokens) {
  int64_t bytes = 0;
  for (const TokenLogProbability& token : tokens) {
    bytes += static_cast<int64_t>(sizeof(token) + token.top.size() * sizeof(token.top.front()));
  }
  return bytes;
}

}  // namespace

std::string ServerSentEvent(std::string_view data) {
  std::string event = "data: ";
  event += data;
  return event += "\n\n";
}

AnswerWriter::AnswerWriter(const AnswerCall& call, Names names, const Tokenizer& tokenizer)
    : kind_(call.kind),
      n_(call.n),
      echo_(call.echo),
      log_probabilities_(call.log_probabilities),
      stream_(call.stream),
      include_usage_(call.include_usage),
      model_(call.model),
      names_(std::move(names)),
      texts_{&tokenizer, call.tokens_as_ids},
      choices_(static_cast<size_t>(call.choices())) {
  for (size_t i = 0; i < choices_.size(); ++i) {
    if (echo_) choices_[i].text = call.prompt_texts[i / static_cast<size_t>(n_)];
    choices_[i].layout.emplace(texts_);
    held_ += static_cast<int64_t>(choices_[i].text.size());
  }
}

int64_t AnswerWriter::Add(int64_t choice, Delta delta) {
  Choice& c = choices_[static_cast<size_t>(choice)];
  int64_t bytes = static_cast<int64_t>(delta.text.size());
  c.text += delta.text;
  if (log_probabilities_) {
    for (auto* tokens : {&delta.prompt_log_probabilities, &delta.log_probabilities}) {
      bytes += BytesOf(*tokens);
      std::ranges::move(*tokens, std::back_inserter(c.log_probabilities));
    }
  }
  held_ += bytes;
  return bytes;
}

void AnswerWriter::End(int64_t choice, const Finish& finish) {
  Choice& c = choices_[static_cast<size_t>(choice)];
  FPTQ_CHECK(!c.finish);
  c.finish = finish;
  ++ends_;
  if (finish.reason == FinishReason::kError) error_ = finish.error;
  if (finish.reason == FinishReason::kCancelled && error_.empty()) error_ = "cancelled";
}

Json AnswerWriter::Head(const char* object) const {
  const char* prefix = kind_ == AnswerKind::kChat ? "chatcmpl-" : "cmpl-";
  return {{"id", prefix + names_.id},
          {"object", object},
          {"created", names_.created},
          {"model", model_},
          {"system_fingerprint", names_.fingerprint}};
}

// A prompt counts once, however many answers there are to it.
Json AnswerWriter::Usage() const {
  int64_t prompt = 0, cached = 0, completion = 0;
  for (size_t i = 0; i < choices_.size(); ++i) {
    const Finish& finish = *choices_[i].finish;
    completion += finish.completion_tokens;
    if (i % static_cast<size_t>(n_) != 0) continue;
    prompt += finish.prompt_tokens;
    cached += finish.cached_tokens;
  }
  return {{"prompt_tokens", prompt},
          {"completion_tokens", completion},
          {"total_tokens", prompt + completion},
          {"prompt_tokens_details", {{"cached_tokens", cached}}}};
}

// Of the choice that took longest.
Json AnswerWriter::Timings() const {
  double queue = 0, prompt = 0, decode = 0;
  bool timed_out = false;
  for (const Choice& choice : choices_) {
    queue = std::max(queue, choice.finish->queue_seconds);
    prompt = std::max(prompt, choice.finish->prompt_seconds);
    decode = std::max(decode, choice.finish->decode_seconds);
    timed_out |= choice.finish->reason == FinishReason::kDeadline;
  }
  return {{"queue_seconds", queue},
          {"prompt_seconds", prompt},
          {"decode_seconds", decode},
          {"timed_out", timed_out}};
}

Json AnswerWriter::TakeLogProbabilities(Choice& choice, size_t most) {
  auto& all = choice.log_probabilities;
  const std::span tokens = std::span(all).first(std::min(most, all.size()));
  Json json = kind_ == AnswerKind::kChat ? ChatLogProbabilities(tokens, texts_)
                                         : choice.layout->Next(tokens);
  all.erase(all.begin(), all.begin() + std::ssize(tokens));
  return json;
}

void AnswerWriter::AppendChunk(Json choices, std::string& events) const {
  Json chunk = Head(kind_ == AnswerKind::kChat ? "chat.completion.chunk" : "text_completion");
  chunk["choices"] = std::move(choices);
  if (include_usage_) chunk["usage"] = nullptr;
  events += ServerSentEvent(DumpJson(chunk));
}

void AnswerWriter::AppendEvents(int64_t index, std::string& events) {
  Choice& choice = choices_[static_cast<size_t>(index)];
  const bool ends = choice.finish && !choice.told_end;
  const bool has_news = !choice.text.empty() || !choice.log_probabilities.empty() || ends;
  if (!has_news) return;
  const bool is_chat = kind_ == AnswerKind::kChat;
  if (is_chat && !std::exchange(choice.begun, true)) {
    AppendChunk({{{"index", index},
                  {"delta", {{"role", "assistant"}, {"content", ""}}},
                  {"logprobs", nullptr},
                  {"finish_reason", nullptr}}},
                events);
  }
  Json logprobs =
      choice.log_probabilities.empty() ? Json() : TakeLogProbabilities(choice, kTokensOfChunk);
  choice.told_end = choice.finish && choice.log_probabilities.empty();
  Json text = std::exchange(choice.text, {});
  Json entry = {{"index", index}};
  if (is_chat) {
    const bool empty = text == "" && logprobs.is_null();
    entry["delta"] = empty ? Json::object() : Json{{"content", std::move(text)}};
  } else {
    entry["text"] = std::move(text);
  }
  entry["logprobs"] = std::move(logprobs);
  entry["finish_reason"] = choice.told_end ? FinishReasonText(choice.finish) : Json();
  AppendChunk(Json::array({std::move(entry)}), events);
}

std::string AnswerWriter::TakeEvents() {
  FPTQ_CHECK(stream_);
  std::string events;
  held_ = 0;
  bool all_told = true;
  for (int64_t i = 0; i < std::ssize(choices_); ++i) {
    AppendEvents(i, events);
    const Choice& choice = choices_[static_cast<size_t>(i)];
    held_ += BytesOf(choice.log_probabilities);
    all_told &= choice.told_end;
  }
  if (!all_told || std::exchange(done_, true)) return events;
  if (include_usage_) {
    Json chunk = Head(kind_ == AnswerKind::kChat ? "chat.completion.chunk" : "text_completion");
    chunk["choices"] = Json::array();
    chunk["usage"] = Usage();
    chunk["timings"] = Timings();
    events += ServerSentEvent(DumpJson(chunk));
  }
  return events += ServerSentEvent("[DONE]");
}

std::string AnswerWriter::TakeResponse() {
  FPTQ_CHECK(!stream_ && ended());
  Json response = Head(kind_ == AnswerKind::kChat ? "chat.completion" : "text_completion");
  Json& choices = response["choices"] = Json::array();
  for (int64_t i = 0; i < std::ssize(choices_); ++i) {
    Choice& choice = choices_[static_cast<size_t>(i)];
    Json text = std::exchange(choice.text, {});
    Json entry = {{"index", i}};
    if (kind_ == AnswerKind::kChat) {
      entry["message"] = {
          {"role", "assistant"}, {"content", std::move(text)}, {"refusal", nullptr}};
    } else {
      entry["text"] = std::move(text);
    }
    entry["logprobs"] =
        log_probabilities_ ? TakeLogProbabilities(choice, choice.log_probabilities.size()) : Json();
    entry["finish_reason"] = FinishReasonText(choice.finish);
    choices.push_back(std::move(entry));
  }
  response["usage"] = Usage();
  response["timings"] = Timings();
  held_ = 0;
  return DumpJson(response);
}

}  // namespace fptq
