#include "cli/chat.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <iostream>
#include <iterator>
#include <utility>

#include "base/error.h"
#include "base/text_file.h"
#include "cli/generate.h"
#include "cli/interrupt.h"
#include "cli/terminal.h"

namespace fptq {

Chat::Chat(Engine& engine, ChatTemplate chat_template, GenerateOptions options,
           std::optional<std::string> system)
    : engine_(engine),
      template_(std::move(chat_template)),
      options_(std::move(options)),
      system_(std::move(system)),
      terminal_(isatty(STDIN_FILENO) == 1) {
  const Tokenizer& tokenizer = engine_.model().tokenizer;
  const SpecialTokens& special = engine_.model().special_tokens;
  bos_ = tokenizer.TokenBytes(special.bos);
  if (!special.eos.empty()) eos_ = tokenizer.TokenBytes(special.eos[0]);
  if (const auto end = tokenizer.TokenToId(template_.end_of_turn())) {
    options_.stop_tokens.push_back(*end);
  }
  std::ranges::copy(EndOfTurnTokens(tokenizer), std::back_inserter(options_.stop_tokens));
  Reset();
}

int Chat::Run(std::optional<std::string> first) {
  if (terminal_) Note("[/help shows the commands]\n");
  if (first) {
    if (terminal_) Print(fmt::format("> {}\n", *first));
    const StopReason stop = Answer(*first);
    if (!terminal_) {
      NoteTimings(timings_);
      return stop == StopReason::kCancelled ? kInterruptedStatus : 0;
    }
  }
  std::string message;
  while (true) {
    const Next next = ReadMessage(message);
    if (next == Next::kExit) break;
    if (next == Next::kIgnore) continue;
    if (Answer(message) == StopReason::kCancelled && !terminal_) return kInterruptedStatus;
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

StopReason Chat::Answer(const std::string& message) {
  const size_t before = messages_.size();
  messages_.push_back({.role = "user", .content = message});
  try {
    const std::string prompt =
        template_.Apply(messages_, /*add_generation_prompt=*/true, bos_, eos_);
    const std::vector<int32_t> tokens =
        engine_.model().tokenizer.Encode(prompt, {.parse_special = true, .add_prefix = false});
    const Generation answer = GenerateToOutput(engine_, tokens, options_);
    timings_ += answer.timings;
    messages_.push_back({.role = "assistant", .content = answer.text});
    if (answer.stop == StopReason::kCancelled && answer.text.empty()) messages_.resize(before);
    return answer.stop;
  } catch (const Error& e) {
    if (!terminal_) throw;
    messages_.resize(
        before);  // a message too long for the context, for one, need not end the conversation
    Note(fmt::format("[{}; /reset starts again]\n", e.what()));
    return StopReason::kContextFull;
  }
}

void Chat::Reset() {
  messages_.clear();
  if (system_) messages_.push_back({.role = "system", .content = *system_});
}

}  // namespace fptq
