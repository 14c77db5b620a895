// A conversation on the terminal, or of the lines of a pipe.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "text/chat_format.h"

namespace fptq {

class Chat {
 public:
  // Error if the format has no place for the system message, or cannot be used at all.
  Chat(Engine& engine, ChatFormat format, GenerateOptions options,
       std::optional<std::string> system);

  // Answers `first` if given, then message after message of standard input; without a terminal
  // `first` is the only one. Returns the exit status.
  int Run(std::optional<std::string> first);

 private:
  enum class Next { kMessage, kIgnore, kExit };

  Next ReadMessage(std::string& message);
  bool ReadLine(std::string& line);
  std::vector<int32_t> EncodePrompt() const;
  FinishReason Answer(const std::string& message);
  void AddMessage(const char* role, const std::string& content);
  void Reset();

  Engine& engine_;
  ChatFormat format_;
  GenerateOptions options_;
  std::optional<std::string> system_;
  bool terminal_;
  bool at_start_ = true;   // of standard input
  bool after_cr_ = false;  // a newline that comes next belongs to the end of the line before
  Json messages_;
  Timings timings_;
};

}  // namespace fptq
