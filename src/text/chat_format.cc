#include "text/chat_format.h"

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace fptq {
namespace {

constexpr const char* kDefault = "default";
constexpr const char* kToolUse = "tool_use";

// Tokens that usual formats end a turn with.
// clang-format off
constexpr std::string_view kTurnEnds[] = {
    "<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<end_of_turn>", "<turn|>", "<|end|>",
    "<|end_of_text|>", "<|endoftext|>", "<|EOT|>", "<EOT>", "<|end_of_turn|>",
    "<end_of_utterance>", "<|return|>", "<|call|>", "<|END_OF_TURN_TOKEN|>", "</s>", "<eos>",
    "<\uff5cend\u2581of\u2581sentence\uff5c>"};
// clang-format on

}  // namespace

ChatTemplateFiles FindChatTemplates(const TokenizerFiles& files) {
  ChatTemplateFiles result{
      .where = files.where, .texts = files.chat_templates, .special_tokens = Json::object()};
  for (const char* name : {"bos_token", "eos_token", "unk_token", "sep_token", "pad_token",
                           "cls_token", "mask_token"}) {
    const std::string text = NamedToken(files, name);
    if (!text.empty()) result.special_tokens[name] = text;
  }
  return result;
}

ChatFormat::ChatFormat(const ChatTemplateFiles& files, const Tokenizer& tokenizer,
                       std::optional<ChatTemplate> replacement)
    : tokenizer_(tokenizer), special_tokens_(files.special_tokens) {
  const auto add = [&](const std::string& name, ChatTemplate chat_template) {
    std::vector<int32_t> control_tokens = tokenizer.ControlTokens(chat_template.literals());
    variants_.emplace(name, Variant{std::move(chat_template), std::move(control_tokens)});
  };
  if (replacement) {
    add(kDefault, *std::move(replacement));
  } else {
    for (const char* name : {kDefault, kToolUse}) {
      const auto text = files.texts.find(name);
      if (text == files.texts.end()) continue;
      try {
        add(name, ChatTemplate::Parse(text->second, fmt::format("chat template '{}'", name)));
      } catch (const Error& error) {  // later ones are told to clients, whom no path concerns
        throw Error("{}: {}", files.where, error.what());
      }
    }
  }
  if (!variants_.contains(kDefault)) {
    throw Error("{}: the model has no {}chat template", files.where,
                files.texts.empty() ? "" : "default ");
  }
  if (const auto end = FindEndOfTurn()) stop_tokens_.push_back(*end);
  for (const std::string_view name : kTurnEnds) {
    const auto id = tokenizer.TokenToId(name);
    if (id && tokenizer.Contains(*id) && std::ranges::count(stop_tokens_, *id) == 0) {
      stop_tokens_.push_back(*id);
    }
  }
}

const ChatFormat::Variant& ChatFormat::VariantFor(const Conversation& conversation) const {
  const auto tool_use = variants_.find(kToolUse);
  if (!conversation.tools.is_null() && tool_use != variants_.end()) return tool_use->second;
  return variants_.at(kDefault);
}

Prompt ChatFormat::Apply(const Conversation& conversation) const {
  return VariantFor(conversation).chat_template.Apply(conversation, special_tokens_);
}

std::vector<int32_t> ChatFormat::Encode(const Conversation& conversation) const {
  return Encode(Apply(conversation), VariantFor(conversation));
}

std::vector<int32_t> ChatFormat::Encode(const Prompt& prompt, const Variant& variant) const {
  return tokenizer_.Encode(prompt.text, {.parse_special = true,
                                         .add_prefix = false,
                                         .passages = prompt.passages,
                                         .control_tokens = variant.control_tokens});
}

std::optional<int32_t> ChatFormat::FindEndOfTurn() const {
  Conversation conversation;
  conversation.messages = {{{"role", "user"}, {"content", "Hello"}},
                           {{"role", "assistant"}, {"content", "Hello"}}};
  conversation.add_generation_prompt = false;
  Prompt prompt;
  try {
    prompt = Apply(conversation);
  } catch (const Error&) {  // it wants other messages than these
    return std::nullopt;
  }
  const auto answer = std::ranges::find(prompt.passages, Origin::kModel, &Passage::origin);
  if (answer == prompt.passages.end()) return std::nullopt;
  const Variant& variant = variants_.at(kDefault);
  const std::vector<int32_t> tokens = Encode({prompt.text.substr(answer->end), {}}, variant);
  for (const int32_t token : tokens) {
    if (tokenizer_.IsSpecial(token) || std::ranges::binary_search(variant.control_tokens, token)) {
      return token;
    }
    const std::string_view text = tokenizer_.TokenBytes(token);
    if (text.find_first_not_of(" \n") != text.npos) break;
  }
  return std::nullopt;
}

}  // namespace fptq
