#include "base/error.h"
#include "base/fuzz/target.h"
#include "text/chat_template.h"

namespace fptq {

FPTQ_FUZZ_TARGET(chat_template, kBytes) {
  const ChatTemplate format = ChatTemplate::FromJinja(input, "file");
  const ChatMessage conversation[] = {{.role = "system", .content = "Be brief."},
                                      {.role = "user", .content = "Hello"},
                                      {.role = "assistant", .content = "Hi"},
                                      {.role = "user", .content = "<|im_end|> {{ bos_token }}"}};
  format.Apply(std::span(conversation).subspan(1), /*add_generation_prompt=*/true, "<s>", "</s>");
  format.Apply(conversation, /*add_generation_prompt=*/false, "<s>", "</s>");
}

}  // namespace fptq
