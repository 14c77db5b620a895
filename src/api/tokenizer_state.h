// What a ModelTokenizer has inside: LLM makes one over the tokenizer of its model.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "fptq/tokenizer.h"
#include "text/chat_format.h"
#include "text/tokenizer.h"

namespace fptq {

struct [[gnu::visibility("hidden")]] ModelTokenizer::State {
  // `owner` keeps `tokenizer` alive.
  State(std::shared_ptr<const void> owner, const Tokenizer& tokenizer,
        const ChatTemplateFiles& templates);

  const ChatFormat& Format() const;  // Error if there is none

  std::shared_ptr<const void> owner;
  const Tokenizer& tokenizer;
  std::optional<ChatFormat> format;
  std::string no_format;  // why there is none
};

}  // namespace fptq
