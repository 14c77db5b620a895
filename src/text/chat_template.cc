#include "text/chat_template.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/error.h"

namespace fptq {
namespace {

using jinja::Heap;
using jinja::Value;

struct NamedTemplate {
  std::string_view name;
  std::string_view source;
};

constexpr NamedTemplate kNamedTemplates[] = {
    {"chatml",
     R"({% for m in messages %}{{ '<|im_start|>' ~ m.role ~ '\n' ~ m.content ~ '<|im_end|>\n' }}{% endfor %})"
     R"({% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %})"},
    {"llama2",
     R"({% set ns = namespace(system='') %}{% for m in messages %}{% if m.role == 'system' %})"
     R"({% set ns.system = '<<SYS>>\n' ~ m.content ~ '\n<</SYS>>\n\n' %}{% elif m.role == 'user' %})"
     R"({{ bos_token ~ '[INST] ' ~ (ns.system ~ m.content)|trim ~ ' [/INST]' }}{% set ns.system = '' %})"
     R"({% else %}{{ ' ' ~ m.content|trim ~ ' ' ~ eos_token }}{% endif %}{% endfor %})"},
    {"llama3",
     R"({{ bos_token }}{% for m in messages %}{{ '<|start_header_id|>' ~ m.role ~ '<|end_header_id|>\n\n' ~ )"
     R"(m.content|trim ~ '<|eot_id|>' }}{% endfor %})"
     R"({% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %})"},
    {"zephyr",
     R"({% for m in messages %}{{ '<|' ~ m.role ~ '|>\n' ~ m.content ~ eos_token ~ '\n' }}{% endfor %})"
     R"({% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %})"},
    {"mistral",
     R"({{ bos_token }}{% for m in messages %}{% if m.role == 'system' %})"
     R"({{ raise_exception('the format has no place for a system message') }}{% endif %})"
     R"({{ '[INST] ' ~ m.content ~ ' [/INST]' if m.role == 'user' else m.content ~ eos_token }}{% endfor %})"},
    {"gemma",
     R"({{ bos_token }}{% set ns = namespace(system='') %}{% for m in messages %}{% if m.role == 'system' %})"
     R"({% set ns.system = m.content ~ '\n\n' %}{% else %}{{ '<start_of_turn>' ~ )"
     R"(('model' if m.role == 'assistant' else m.role) ~ '\n' ~ ns.system ~ m.content|trim ~ '<end_of_turn>\n' }})"
     R"({% set ns.system = '' %}{% endif %}{% endfor %})"
     R"({% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %})"},
};

// Templates write such roles into control tokens, as in '<|' ~ role ~ '|>'. Others count as text of
// whoever sent them.
bool IsKnownRole(const Json& role) {
  constexpr std::array<std::string_view, 8> kRoles = {"system", "developer", "user",    "assistant",
                                                      "tool",   "function",  "ipython", "model"};
  return role.is_string() &&
         std::ranges::find(kRoles, role.get_ref<const std::string&>()) != kRoles.end();
}

// The message without fields that are null, and its reasoning under the names that templates read.
Json Normalized(const Json& message) {
  Json result = Json::object();
  const Json* reasoning = nullptr;
  for (const char* name : {"reasoning", "thinking", "reasoning_content"}) {
    const auto field = message.find(name);
    if (field != message.end() && !field->is_null()) reasoning = &*field;
  }
  if (reasoning != nullptr) result["thinking"] = *reasoning;
  for (const auto& [name, value] : message.items()) {
    if (!value.is_null()) result[name] = value;
  }
  if (reasoning != nullptr) result["reasoning_content"] = *reasoning;
  return result;
}

Value MakeMessage(Heap& heap, const Json& message) {
  const auto role = message.find("role");
  const Origin origin =
      role != message.end() && *role == "assistant" ? Origin::kModel : Origin::kUser;
  std::vector<std::pair<Value, Value>> fields;
  const Json normalized = Normalized(message);
  for (const auto& [name, value] : normalized.items()) {
    const bool is_role = name == "role" && IsKnownRole(value);
    fields.emplace_back(heap.FromJson(name, origin),
                        heap.FromJson(value, is_role ? Origin::kTemplate : origin));
  }
  return heap.MakeDict(std::move(fields));
}

void CheckObjects(const Json& array, std::string_view name) {
  const auto is_object = [](const Json& entry) { return entry.is_object(); };
  if (!array.is_array() || !std::ranges::all_of(array, is_object)) {
    throw Error("{}: expected an array of objects", name);
  }
}

jinja::Template::Variables MakeVariables(Heap& heap, const Conversation& conversation,
                                         const Json& special_tokens) {
  std::vector<Value> messages;
  for (const Json& message : conversation.messages) messages.push_back(MakeMessage(heap, message));
  jinja::Template::Variables variables = {
      {"messages", heap.MakeList(std::move(messages))},
      {"tools", heap.FromJson(conversation.tools, Origin::kUser)},
      {"documents", heap.FromJson(conversation.documents, Origin::kUser)},
      {"add_generation_prompt", conversation.add_generation_prompt},
  };
  // Those that are named by the conversation count.
  for (const auto& [name, value] : conversation.variables.items()) {
    variables.emplace_back(name, heap.FromJson(value, Origin::kUser));
  }
  for (const auto& [name, value] : special_tokens.items()) {
    variables.emplace_back(name, heap.FromJson(value, Origin::kTemplate));
  }
  return variables;
}

}  // namespace

ChatTemplate ChatTemplate::Parse(std::string_view source, std::string where) {
  return ChatTemplate(jinja::Template::Parse(source, std::move(where)));
}

std::optional<ChatTemplate> ChatTemplate::FromName(std::string_view name) {
  const auto* row = std::ranges::find(kNamedTemplates, name, &NamedTemplate::name);
  if (row == std::end(kNamedTemplates)) return std::nullopt;
  return Parse(row->source, "chat template '" + std::string(name) + "'");
}

std::vector<std::string_view> ChatTemplate::Names() {
  std::vector<std::string_view> names;
  for (const NamedTemplate& row : kNamedTemplates) names.push_back(row.name);
  return names;
}

Prompt ChatTemplate::Apply(const Conversation& conversation, const Json& special_tokens) const {
  CheckObjects(conversation.messages, "messages");
  if (conversation.messages.empty()) throw Error("messages: expected at least one");
  if (!conversation.tools.is_null()) CheckObjects(conversation.tools, "tools");
  if (!conversation.documents.is_null()) CheckObjects(conversation.documents, "documents");
  if (!conversation.variables.is_object()) {
    throw Error("variables of the chat template: expected an object");
  }
  const jinja::Text text = template_.Render(
      [&](Heap& heap) { return MakeVariables(heap, conversation, special_tokens); },
      {.limits = conversation.limits, .now = conversation.now});
  Prompt prompt;
  for (const char32_t c : text) {
    jinja::AppendUtf8(c, prompt.text);
    const Origin origin = jinja::OriginOf(c);
    if (prompt.passages.empty() || prompt.passages.back().origin != origin) {
      prompt.passages.push_back({0, origin});
    }
    prompt.passages.back().end = prompt.text.size();
  }
  return prompt;
}

}  // namespace fptq
