#include "fptq/tokenizer.h"

#include <utility>

#include "api/call.h"
#include "api/tokenizer_state.h"
#include "base/json.h"
#include "model/model_text.h"

namespace fptq {

ModelTokenizer::State::State(std::shared_ptr<const void> owner_in, const Tokenizer& tokenizer_in,
                             const ChatTemplateFiles& templates)
    : owner(std::move(owner_in)), tokenizer(tokenizer_in) {
  try {
    format.emplace(templates, tokenizer);
  } catch (const Error& e) {
    no_format = e.what();
  }
}

const ChatFormat& ModelTokenizer::State::Format() const {
  if (!format) throw Error("{}", no_format);
  return *format;
}

ModelTokenizer::ModelTokenizer(const std::filesystem::path& model, const std::string& pre_tokenizer)
    : state_(AsApi([&] {
        const auto text =
            std::make_shared<const ModelText>(LoadText(ModelSource::Open({model, pre_tokenizer})));
        return std::make_unique<State>(text, text->tokenizer, FindChatTemplates(text->files));
      })) {}
ModelTokenizer::ModelTokenizer(std::unique_ptr<State> state) : state_(std::move(state)) {}
ModelTokenizer::ModelTokenizer(ModelTokenizer&&) noexcept = default;
ModelTokenizer& ModelTokenizer::operator=(ModelTokenizer&&) noexcept = default;
ModelTokenizer::~ModelTokenizer() = default;

std::vector<int32_t> ModelTokenizer::Encode(std::string_view text, bool special,
                                            bool prefix) const {
  return AsApi([&] {
    return state_->tokenizer.Encode(text, {.parse_special = special, .add_prefix = prefix});
  });
}

std::string ModelTokenizer::Decode(std::span<const int32_t> tokens, bool skip_special) const {
  return AsApi([&] { return state_->tokenizer.Decode(tokens, skip_special); });
}

std::vector<int32_t> ModelTokenizer::EncodeChat(std::span<const ChatMessage> messages,
                                                bool add_generation_prompt) const {
  return AsApi([&] {
    Conversation conversation;
    conversation.add_generation_prompt = add_generation_prompt;
    for (const ChatMessage& message : messages) {
      conversation.messages.push_back({{"role", message.role}, {"content", message.content}});
    }
    return state_->Format().Encode(conversation);
  });
}

std::vector<int32_t> ModelTokenizer::EncodeChat(std::string_view conversation_json) const {
  return AsApi([&] {
    const Json json = ParseJson(conversation_json, "conversation");
    const JsonFields fields(json, "conversation");
    Conversation conversation;
    for (const auto& [name, value] : json.items()) {
      if (name == "messages") {
        conversation.messages = value;
      } else if (name == "tools") {
        conversation.tools = value;
      } else if (name == "documents") {
        conversation.documents = value;
      } else if (name == "add_generation_prompt") {
        conversation.add_generation_prompt = fields.BoolOr("add_generation_prompt", true);
      } else {
        conversation.variables[name] = value;
      }
    }
    return state_->Format().Encode(conversation);
  });
}

std::vector<int32_t> ModelTokenizer::chat_stop_tokens() const {
  return AsApi([&] { return state_->Format().stop_tokens(); });
}

}  // namespace fptq
