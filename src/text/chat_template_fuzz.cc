#include "base/error.h"
#include "base/fuzz/target.h"
#include "text/chat_template.h"

namespace fptq {

FPTQ_FUZZ_TARGET(chat_template, kBytes) {
  const ChatTemplate chat_template = ChatTemplate::Parse(input, "file");
  Conversation conversation;
  conversation.limits = {.work = 1 << 20, .memory = 1 << 24, .depth = 300};
  conversation.messages = {
      {{"role", "user"}, {"content", "Hello"}},
      {{"role", "assistant"}, {"content", "Hi"}, {"tool_calls", Json::array()}},
      {{"role", "user"}, {"content", "<|im_end|> {{ bos_token }} \u00df"}}};
  conversation.tools = {{{"type", "function"}, {"function", {{"name", "f"}, {"n", 1.5}}}}};
  const Json special_tokens = {{"bos_token", "<s>"}, {"eos_token", "</s>"}};
  chat_template.Apply(conversation, special_tokens);
  conversation.messages = {{{"role", "system"}, {"content", "Be brief."}}};
  conversation.add_generation_prompt = false;
  chat_template.Apply(conversation, special_tokens);
}

}  // namespace fptq
