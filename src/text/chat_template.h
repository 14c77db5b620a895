// How a conversation is written as a prompt.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace fptq {

struct ChatMessage {
  std::string role;  // "system", "user", "assistant"
  std::string content;
};

// One of a fixed list of formats (rows of a table), recognized from the model's Jinja text: we do
// not run Jinja.
class ChatTemplate {
 public:
  // Recognizes `jinja`; Error that lists the known names (for --chat-template NAME) if it is not
  // one of them. A default system message that the Jinja text contains (as SmolLM2's does) is kept.
  static ChatTemplate FromJinja(std::string_view jinja, std::string_view where);
  static ChatTemplate FromName(
      std::string_view name);  // "chatml", "llama2", "llama3", "zephyr", "mistral", "gemma"
  static std::vector<std::string_view> Names();

  std::string_view name() const;
  // The text of the conversation; with `add_generation_prompt` it ends where the assistant is to go
  // on. Special tokens are written as text, to be encoded with parse_special and without
  // add_special_tokens. `bos` and `eos` are the texts of those tokens. Error if the format has no
  // place for a role.
  std::string Apply(std::span<const ChatMessage> messages, bool add_generation_prompt,
                    std::string_view bos, std::string_view eos) const;
  // The text that ends an assistant's turn, e.g. "<|im_end|>": a stop token beside the model's EOS.
  std::string_view end_of_turn() const;

 private:
  int format_ = 0;              // row of the table in chat_template.cc
  std::string default_system_;  // empty if none
};

}  // namespace fptq
