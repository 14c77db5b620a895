#include "text/chat_template.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace fptq {
namespace {

const std::vector<ChatMessage> kTurns = {
    {"user", " Hi there "}, {"assistant", "Hello. "}, {"user", "How are you?"}};

std::vector<ChatMessage> WithSystem() {
  std::vector<ChatMessage> messages = {{"system", "Be brief."}};
  messages.insert(messages.end(), kTurns.begin(), kTurns.end());
  return messages;
}

std::string Apply(std::string_view name, const std::vector<ChatMessage>& messages,
                  bool prompt = true) {
  return ChatTemplate::FromName(name).Apply(messages, prompt, "<s>", "</s>");
}

// Expected texts: apply_chat_template of transformers with the public templates of these formats.
TEST(ChatTemplateTest, Chatml) {
  EXPECT_EQ(Apply("chatml", WithSystem()),
            "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n Hi there <|im_end|>\n"
            "<|im_start|>assistant\nHello. <|im_end|>\n<|im_start|>user\nHow are you?<|im_end|>\n"
            "<|im_start|>assistant\n");
  EXPECT_EQ(Apply("chatml", {{"user", "a"}}, false), "<|im_start|>user\na<|im_end|>\n");
}

TEST(ChatTemplateTest, Llama2) {
  EXPECT_EQ(Apply("llama2", WithSystem()),
            "<s>[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\n Hi there [/INST] Hello. </s>"
            "<s>[INST] How are you? [/INST]");
  EXPECT_EQ(Apply("llama2", kTurns),
            "<s>[INST] Hi there [/INST] Hello. </s><s>[INST] How are you? [/INST]");
}

TEST(ChatTemplateTest, Llama3) {
  const std::string turns =
      "<|start_header_id|>user<|end_header_id|>\n\nHi there<|eot_id|>"
      "<|start_header_id|>assistant<|end_header_id|>\n\nHello.<|eot_id|>"
      "<|start_header_id|>user<|end_header_id|>\n\nHow are you?<|eot_id|>";
  EXPECT_EQ(Apply("llama3", kTurns, false), "<s>" + turns);
  EXPECT_EQ(Apply("llama3", WithSystem()),
            "<s><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>" + turns +
                "<|start_header_id|>assistant<|end_header_id|>\n\n");
}

TEST(ChatTemplateTest, Zephyr) {
  const std::string turns =
      "<|user|>\n Hi there </s>\n<|assistant|>\nHello. </s>\n<|user|>\nHow are you?</s>\n";
  EXPECT_EQ(Apply("zephyr", kTurns, false), turns);
  EXPECT_EQ(Apply("zephyr", WithSystem()),
            "<|system|>\nBe brief.</s>\n" + turns + "<|assistant|>\n");
}

TEST(ChatTemplateTest, Mistral) {
  EXPECT_EQ(Apply("mistral", kTurns),
            "<s>[INST]  Hi there  [/INST]Hello. </s>[INST] How are you? [/INST]");
}

TEST(ChatTemplateTest, Gemma) {
  const std::string turns =
      "Hi there<end_of_turn>\n<start_of_turn>model\nHello.<end_of_turn>\n"
      "<start_of_turn>user\nHow are you?<end_of_turn>\n";
  EXPECT_EQ(Apply("gemma", kTurns, false), "<s><start_of_turn>user\n" + turns);
  EXPECT_EQ(Apply("gemma", WithSystem()),
            "<s><start_of_turn>user\nBe brief.\n\n" + turns + "<start_of_turn>model\n");
}

TEST(ChatTemplateTest, RolesWithoutAPlaceAreErrors) {
  EXPECT_THROW(Apply("mistral", WithSystem()), Error);
  EXPECT_THROW(Apply("mistral", {{"assistant", "a"}}), Error);
  EXPECT_THROW(Apply("llama2", {{"user", "a"}, {"user", "b"}}), Error);
  EXPECT_THROW(Apply("gemma", {{"assistant", "a"}}), Error);
  EXPECT_THROW(Apply("llama2", {{"user", "a"}, {"system", "b"}}), Error);
  EXPECT_THROW(Apply("zephyr", {{"tool", "a"}}), Error);
}

TEST(ChatTemplateTest, RecognizesFormatsByTheirMarkers) {
  const std::pair<const char*, const char*> cases[] = {
      {"chatml", "{{'<|im_start|>' + message['role'] + m + '<|im_end|>' }}"},
      {"llama2", "{{ bos_token + '[INST] <<SYS>>' + m + '[/INST]' + eos_token }}"},
      {"llama3", "{{ '<|start_header_id|>' + role + '<|end_header_id|>' + m + '<|eot_id|>' }}"},
      {"zephyr", "{{ '<|user|>' + m + eos_token }}{{ '<|assistant|>' + m + eos_token }}"},
      {"gemma", "{{ '<start_of_turn>' + role + m + '<end_of_turn>' }}"},
      {"mistral", "{{ bos_token }}{{ '[INST] ' + m + ' [/INST]' }}{{ m + eos_token }}"},
  };
  for (const auto& [name, jinja] : cases) {
    EXPECT_EQ(ChatTemplate::FromJinja(jinja, "test").name(), name);
  }
}

TEST(ChatTemplateTest, UnknownFormatsAreErrorsThatListTheKnown) {
  for (const char* jinja : {"", "{{ '<start_of_role>' }}", "{{ '<|user|>' }}{{ '<|end|>' }}",
                            "[INST] [/INST] eos_token [AVAILABLE_TOOLS]"}) {
    try {
      ChatTemplate::FromJinja(jinja, "DIR/tokenizer_config.json");
      FAIL() << jinja;
    } catch (const Error& error) {
      const std::string message = error.what();
      EXPECT_EQ(message.find("DIR/tokenizer_config.json"), 0u) << message;
      EXPECT_NE(message.find("--chat-template chatml|llama2|llama3|zephyr|mistral|gemma"),
                std::string::npos)
          << message;
    }
  }
  EXPECT_THROW(ChatTemplate::FromName("vicuna"), Error);
}

TEST(ChatTemplateTest, KeepsADefaultSystemMessage) {
  const auto apply = [](std::string_view jinja, std::vector<ChatMessage> messages) {
    return ChatTemplate::FromJinja(jinja, "test").Apply(messages, false, "", "");
  };
  const std::string user = "<|im_start|>user\na<|im_end|>\n";
  const std::string system = "<|im_start|>system\nYou're \"it\".\nGo<|im_end|>\n";
  // Newlines as such and as an escape; a first mention that is put together from variables is not a
  // default.
  for (const char* jinja : {"{{ '<|im_start|>system\nYou\\'re \"it\".\nGo<|im_end|>\n' }}",
                            "{{ '<|im_start|>system\\n' + content + '<|im_end|>' }}"
                            "{{ '<|im_start|>system\\nYou\\'re \"it\".\\nGo<|im_end|>\\n' }}"}) {
    EXPECT_EQ(apply(jinja, {{"user", "a"}}), system + user) << jinja;
    EXPECT_EQ(apply(jinja, {{"system", "b"}}), "<|im_start|>system\nb<|im_end|>\n") << jinja;
  }
  EXPECT_EQ(apply("{{ '<|im_start|>system\\n' + content + '<|im_end|>' }}", {{"user", "a"}}), user);
}

TEST(ChatTemplateTest, EndOfTurn) {
  EXPECT_EQ(ChatTemplate::FromName("chatml").end_of_turn(), "<|im_end|>");
  EXPECT_EQ(ChatTemplate::FromName("llama3").end_of_turn(), "<|eot_id|>");
  EXPECT_EQ(ChatTemplate::FromName("mistral").end_of_turn(), "");  // EOS itself
}

}  // namespace
}  // namespace fptq
