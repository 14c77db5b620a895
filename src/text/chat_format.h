// From conversations to tokens, as a model was taught to read them.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace fptq {

// A model's templates and what they read of the tokenizer.
struct ChatTemplateFiles {
  std::string where;                         // for errors
  std::map<std::string, std::string> texts;  // as TokenizerFiles::chat_templates
  Json special_tokens;                       // "bos_token": its text, ...
};
ChatTemplateFiles FindChatTemplates(const TokenizerFiles& files);

class ChatFormat {
 public:
  // Of the model's templates, that named "tool_use" is for conversations with tools, if there is
  // one, and "default" for the others. Error if it has none, or one cannot be read. `replacement`
  // takes the place of all. The tokenizer must outlive the format.
  ChatFormat(const ChatTemplateFiles& files, const Tokenizer& tokenizer,
             std::optional<ChatTemplate> replacement = std::nullopt);

  // The text of the prompt, and who wrote what in it.
  Prompt Apply(const Conversation& conversation) const;
  // Its tokens. Where messages hold what reads like a control token, it is encoded as any text.
  std::vector<int32_t> Encode(const Conversation& conversation) const;

  // Where an answer ends, beside EOS: at the token that the template puts behind what the assistant
  // says, e.g. <|im_end|>, if it puts one there, and at those that usual formats end a turn with.
  const std::vector<int32_t>& stop_tokens() const { return stop_tokens_; }

 private:
  struct Variant {
    ChatTemplate chat_template;
    std::vector<int32_t> control_tokens;
  };
  const Variant& VariantFor(const Conversation& conversation) const;
  std::vector<int32_t> Encode(const Prompt& prompt, const Variant& variant) const;
  std::optional<int32_t> FindEndOfTurn() const;

  const Tokenizer& tokenizer_;
  Json special_tokens_;
  std::map<std::string, Variant> variants_;
  std::vector<int32_t> stop_tokens_;
};

}  // namespace fptq
