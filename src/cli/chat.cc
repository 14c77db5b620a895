#include "cli/chat.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <iostream>
#include <iterator>
#include <utility>

#include "base/error.h"
#include "cli/generate.h"
#include "cli/interrupt.h"
#include "cli/terminal.h"
#include "files/text_file.h"

namespace fptq {

Chat::Chat(Engine& engine, ChatFormat format, GenerateOptions options,
           std::optional<std::string> system)
    : engine_(engine),
      format_(std::move(format)),
      options_(std::move(options)),
      system_(std::move(system)),
      terminal_(isatty(STDIN_FILENO) == 1) {
  std::ranges::copy(format_.stop_tokens(), std::back_inserter(options_.stop_tokens));
  Reset();
  // A first message is written for nothing, to learn now what the template refuses.
  AddMessage("user", "Hello");
  EncodePrompt();
  Reset();
}

int Chat::Run(std::optional<std::string> first) {
  if (terminal_) Note("[/help shows the commands]\n");
  if (first) {
    if (terminal_) Print(fmt::format("> {}\n", *first));
    const FinishReason stop = Answer(*first);
    if (!terminal_) {
      NoteTimings(timings_);
      return stop == FinishReason::kCancelled ? kInterruptedStatus : 0;
    }
  }
  std::string message;
  while (true) {
    const Next next = ReadMessage(message);
    if (next == Next::kExit) break;
    if (next == Next::kIgnore) continue;
    if (Answer(message) == FinishReason::kCancelled && !terminal_) return kInterruptedStatus;
  }
  NoteTimings(timings_);
  return 0;
}

// Lines end with LF, CR LF or CR. False at the end of the input.
bool Chat::ReadLine(std::string& line) {
  line.clear();
  int c;
  while ((c = std::cin.get()) != EOF) {
    const bool second_half = std::exchange(after_cr_, c == '\r') && c == '\n';
    if (second_half) continue;
    if (c == '\n' || c == '\r') break;
    line += static_cast<char>(c);
  }
  if (c == EOF && line.empty()) return false;
  if (std::exchange(at_start_, false)) line = std::string(Utf8Text(line, "standard input"));
  return true;
}

Chat::Next Chat::ReadMessage(std::string& message) {
  if (terminal_) Print("> ");
  if (!ReadLine(message)) {
    if (terminal_) Print("\n");
    return Next::kExit;
  }
  if (message.find_first_not_of(" \t") == std::string::npos) return Next::kIgnore;
  if (message == "/exit") return Next::kExit;
  if (message == "/reset") {
    Reset();
    return Next::kIgnore;
  }
  if (message == "/help") {
    Note("[/reset forgets the conversation, /exit or Ctrl-D ends; Ctrl-C stops an answer]\n");
    return Next::kIgnore;
  }
  return Next::kMessage;
}

FinishReason Chat::Answer(const std::string& message) {
  const Json before = messages_;
  AddMessage("user", message);
  try {
    const std::vector<int32_t> tokens = EncodePrompt();
    const Generation answer = GenerateToOutput(engine_, tokens, options_);
    timings_ += answer.timings;
    AddMessage("assistant", answer.text);
    if (answer.stop == FinishReason::kCancelled && answer.text.empty()) messages_ = before;
    return answer.stop;
  } catch (const Error& e) {
    if (!terminal_) throw;
    messages_ = before;  // a message too long for the context, for one, need not end it all
    Note(fmt::format("[{}; /reset starts again]\n", e.what()));
    return FinishReason::kContextFull;
  }
}

std::vector<int32_t> Chat::EncodePrompt() const {
  Conversation conversation;
  conversation.messages = messages_;
  return format_.Encode(conversation);
}

void Chat::AddMessage(const char* role, const std::string& content) {
  messages_.push_back({{"role", role}, {"content", content}});
}

void Chat::Reset() {
  messages_ = Json::array();
  if (system_) AddMessage("system", *system_);
}

}  // namespace fptq
