// Applies chat templates for scripts/check_chat_templates: reads a JSON object a line from standard
// input, {"template", "special_tokens", "messages", "tools", "documents", "variables",
// "add_generation_prompt", "now"}, and writes {"text"} or {"error"} for each.
#include <iostream>
#include <string>

#include "base/error.h"
#include "text/chat_template.h"

namespace fptq {
namespace {

Json Apply(const Json& request) {
  Conversation conversation;
  conversation.messages = request["messages"];
  conversation.tools = request["tools"];
  conversation.documents = request["documents"];
  conversation.variables = request["variables"];
  conversation.add_generation_prompt = request["add_generation_prompt"].get<bool>();
  std::tm now{};
  strptime(request["now"].get<std::string>().c_str(), "%Y-%m-%dT%H:%M:%S", &now);
  conversation.now = now;
  try {
    const auto chat_template =
        ChatTemplate::Parse(request["template"].get<std::string>(), "template");
    return {{"text", chat_template.Apply(conversation, request["special_tokens"]).text}};
  } catch (const Error& e) {
    return {{"error", e.what()}};
  }
}

}  // namespace
}  // namespace fptq

int main() {
  std::string line;
  while (std::getline(std::cin, line)) {
    std::cout << fptq::Apply(fptq::ParseJson(line, "request")).dump() << '\n';
  }
}
