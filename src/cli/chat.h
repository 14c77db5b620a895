// A conversation on the terminal, or of the lines of a pipe.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "text/chat_template.h"

namespace fptq {

class Chat {
 public:
  Chat(Engine& engine, ChatTemplate chat_template, GenerateOptions options,
       std::optional<std::string> system);

  // Answers `first` if given, then message after message of standard input; without a terminal
  // `first` is the only one. Returns the exit status.
  int Run(std::optional<std::string> first);

 private:
  enum class Next { kMessage, kIgnore, kExit };

  Next ReadMessage(std::string& message);
  bool ReadLine(std::string& line);
  StopReason Answer(const std::string& message);
  void Reset();

  Engine& engine_;
  ChatTemplate template_;
  GenerateOptions options_;
  std::optional<std::string> system_;
  std::string bos_, eos_;
  bool terminal_;
  bool at_start_ = true;   // of standard input
  bool after_cr_ = false;  // a newline that comes next belongs to the end of the line before
  std::vector<ChatMessage> messages_;
  Timings timings_;
};

}  // namespace fptq
