// How a conversation is written as a prompt: by a Jinja template, as transformers does it.
#pragma once

#include <ctime>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "text/jinja/template.h"
#include "text/passage.h"

namespace fptq {

// What is to be written, as JSON of OpenAI's form.
struct Conversation {
  // Objects with "role", "content" (a text, or parts of {"type": "text", "text": ...}),
  // "tool_calls", "tool_call_id", "name", "reasoning_content" and whatever else the template reads.
  // Fields that are null count as absent.
  Json messages = Json::array();
  Json tools = nullptr;               // an array, or null
  Json documents = nullptr;           // an array, or null
  Json variables = Json::object();    // more that the template may read, e.g. "enable_thinking"
  bool add_generation_prompt = true;  // end where the assistant is to go on
  jinja::Limits limits;               // of what the template may use
  std::optional<std::tm> now;  // the time that the template may write; absent: that of the call
};

struct Prompt {
  std::string text;
  std::vector<Passage> passages;
};

class ChatTemplate {
 public:
  // Error if `source` is no Jinja template; `where` names it in that and later errors.
  static ChatTemplate Parse(std::string_view source, std::string where);
  // A common format, for models that come without a template: "chatml", "llama2", "llama3",
  // "zephyr", "mistral", "gemma". Nothing if there is none of that name.
  static std::optional<ChatTemplate> FromName(std::string_view name);
  static std::vector<std::string_view> Names();

  // `special_tokens`: the texts of "bos_token", "eos_token", ... Error if the conversation is none,
  // or if the template refuses it.
  Prompt Apply(const Conversation& conversation, const Json& special_tokens) const;

  // What stands in the template itself.
  const std::string& literals() const { return template_.literals(); }

 private:
  explicit ChatTemplate(jinja::Template parsed) : template_(std::move(parsed)) {}

  jinja::Template template_;
};

}  // namespace fptq
