// The option --chat-template.
#pragma once

#include <optional>
#include <string>

#include "model/model.h"
#include "text/chat_format.h"

namespace fptq {

inline constexpr const char* kChatTemplateHelp =
    "file of a Jinja template that takes the place of the model's own; or the name of a "
    "common format: chatml, llama2, llama3, zephyr, mistral, gemma";

// The model's format, or that of the option. Error naming `path` if there is none.
ChatFormat ChooseChatFormat(const std::optional<std::string>& choice, const Model& model,
                            const std::string& path);

}  // namespace fptq
