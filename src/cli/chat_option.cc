#include "cli/chat_option.h"

#include <fmt/ranges.h>

#include <filesystem>
#include <utility>

#include "base/error.h"
#include "files/text_file.h"

namespace fptq {

ChatFormat ChooseChatFormat(const std::optional<std::string>& choice, const Model& model,
                            const std::string& path) {
  const std::string names = fmt::format("{}", fmt::join(ChatTemplate::Names(), "|"));
  std::optional<ChatTemplate> chosen;
  if (choice) {
    chosen = ChatTemplate::FromName(*choice);
    if (!chosen && !std::filesystem::exists(*choice)) {
      throw Error("--chat-template: expected a file of Jinja or one of {}, found '{}'", names,
                  *choice);
    }
    if (!chosen) chosen = ChatTemplate::Parse(TextFile(*choice).text(), *choice);
  } else if (model.chat_templates.texts.empty()) {
    throw Error("{}: the model has no chat template; give one with --chat-template FILE|{}", path,
                names);
  }
  return ChatFormat(model.chat_templates, model.tokenizer, std::move(chosen));
}

}  // namespace fptq
