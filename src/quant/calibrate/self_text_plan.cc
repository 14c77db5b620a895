#include "quant/calibrate/self_text_plan.h"

#include <ctime>
#include <string>
#include <string_view>

#include "base/error.h"
#include "text/chat_format.h"

namespace fptq {
namespace {

// Words that no template has.
constexpr std::string_view kFirstQuestion = "Zqx1", kAnswer = "Zqx2", kQuestion = "Zqx3";

}  // namespace

SelfTextPlan::SelfTextPlan(uint64_t seed, bool chat, const Model& model)
    : tokenizer_(model.tokenizer), random_(seed, model.tokenizer), chat_(chat) {
  if (chat_) FindTurns(model);
}

// Applies the template to a conversation of which only the words are known, and cuts it there.
void SelfTextPlan::FindTurns(const Model& model) {
  Conversation conversation;
  for (const std::string_view text : {kFirstQuestion, kAnswer, kQuestion}) {
    conversation.messages.push_back(
        {{"role", text == kAnswer ? "assistant" : "user"}, {"content", text}});
  }
  conversation.now = std::tm{};  // the same text on every day
  conversation.now->tm_year = 125;
  conversation.now->tm_mday = 1;
  const std::string prompt = ChatFormat(model.chat_templates, tokenizer_).Apply(conversation).text;
  const size_t first = prompt.find(kFirstQuestion), answer = prompt.find(kAnswer),
               second = prompt.find(kQuestion);
  const bool in_order = first < answer && answer < second && second != prompt.npos;
  const auto tokens = [&](size_t begin, size_t end) {
    return tokenizer_.Encode(std::string_view(prompt).substr(begin, end - begin),
                             {.parse_special = true, .add_prefix = false});
  };
  if (in_order) {
    first_turn_ = tokens(0, first);
    answer_ = tokens(first + kFirstQuestion.size(), answer);
    question_ = tokens(answer + kAnswer.size(), second);
  }
  if (first_turn_.empty() || answer_.empty() || question_.empty()) {
    throw Error("calibration chat: expected a chat template that begins and ends turns, found '{}'",
                prompt);
  }
}

int32_t SelfTextPlan::Begin() {
  Sequence& sequence = sequences_.emplace_back();
  if (!chat_) return random_.Next();
  sequence.ahead.assign(first_turn_.begin() + 1, first_turn_.end());
  return first_turn_[0];
}

int32_t SelfTextPlan::Next(size_t i, int32_t drawn) {
  Sequence& sequence = sequences_.at(i);
  if (sequence.ahead.empty()) {
    if (!tokenizer_.IsSpecial(drawn)) return drawn;
    if (!chat_) return random_.Next();  // another text
    const std::vector<int32_t>& turn = sequence.asks ? answer_ : question_;
    sequence.asks = !sequence.asks;
    sequence.ahead.assign(turn.begin(), turn.end());
  }
  const int32_t token = sequence.ahead.front();
  sequence.ahead.pop_front();
  return token;
}

}  // namespace fptq
