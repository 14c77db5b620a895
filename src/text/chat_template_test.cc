#include "text/chat_template.h"

#include <gtest/gtest.h>

#include "base/test_util.h"

namespace fptq {
namespace {

Json Message(const char* role, const char* content) {
  return {{"role", role}, {"content", content}};
}

const Json kTurns = {Message("user", " Hi there "), Message("assistant", "Hello. "),
                     Message("user", "How are you?")};

Json WithSystem() {
  Json messages = Json::array({Message("system", "Be brief.")});
  for (const Json& message : kTurns) messages.push_back(message);
  return messages;
}

const Json kSpecial = {{"bos_token", "<s>"}, {"eos_token", "</s>"}};

std::string Apply(const ChatTemplate& chat_template, const Conversation& conversation) {
  return chat_template.Apply(conversation, kSpecial).text;
}

std::string ApplyNamed(std::string_view name, const Json& messages, bool prompt = true) {
  Conversation conversation;
  conversation.messages = messages;
  conversation.add_generation_prompt = prompt;
  return Apply(ChatTemplate::FromName(name).value(), conversation);
}

std::string ApplyJinja(std::string_view jinja, const Json& messages) {
  Conversation conversation;
  conversation.messages = messages;
  return Apply(ChatTemplate::Parse(jinja, "test"), conversation);
}

// Expected texts: apply_chat_template of transformers with the public templates of these formats.
TEST(ChatTemplate, CommonFormats) {
  EXPECT_EQ(ApplyNamed("chatml", WithSystem()),
            "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n Hi there <|im_end|>\n"
            "<|im_start|>assistant\nHello. <|im_end|>\n<|im_start|>user\nHow are you?<|im_end|>\n"
            "<|im_start|>assistant\n");
  EXPECT_EQ(ApplyNamed("llama2", WithSystem()),
            "<s>[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\n Hi there [/INST] Hello. </s>"
            "<s>[INST] How are you? [/INST]");
  EXPECT_EQ(ApplyNamed("llama2", kTurns),
            "<s>[INST] Hi there [/INST] Hello. </s><s>[INST] How are you? [/INST]");
  EXPECT_EQ(ApplyNamed("llama3", kTurns, false),
            "<s><|start_header_id|>user<|end_header_id|>\n\nHi there<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\nHello.<|eot_id|>"
            "<|start_header_id|>user<|end_header_id|>\n\nHow are you?<|eot_id|>");
  EXPECT_EQ(ApplyNamed("zephyr", WithSystem()),
            "<|system|>\nBe brief.</s>\n<|user|>\n Hi there </s>\n<|assistant|>\nHello. </s>\n"
            "<|user|>\nHow are you?</s>\n<|assistant|>\n");
  EXPECT_EQ(ApplyNamed("mistral", kTurns),
            "<s>[INST]  Hi there  [/INST]Hello. </s>[INST] How are you? [/INST]");
  EXPECT_EQ(ApplyNamed("gemma", WithSystem()),
            "<s><start_of_turn>user\nBe brief.\n\nHi there<end_of_turn>\n"
            "<start_of_turn>model\nHello.<end_of_turn>\n"
            "<start_of_turn>user\nHow are you?<end_of_turn>\n<start_of_turn>model\n");
  EXPECT_ERROR("no place for a system message", ApplyNamed("mistral", WithSystem()));
  EXPECT_FALSE(ChatTemplate::FromName("vicuna").has_value());
  EXPECT_EQ(ChatTemplate::Names().size(), 6u);
}

TEST(ChatTemplate, GivesTemplatesWhatTransformersDoes) {
  const Json message = {{"role", "assistant"}, {"content", nullptr}, {"reasoning", "hm"}};
  EXPECT_EQ(ApplyJinja("{{ messages[0] }}", Json::array({message})),
            "{'thinking': 'hm', 'role': 'assistant', 'reasoning': 'hm', "
            "'reasoning_content': 'hm'}");
  EXPECT_EQ(ApplyJinja("{{ tools }} {{ documents is defined }} {{ bos_token }}{{ eos_token }}"
                       "{{ add_generation_prompt }}{{ unk_token is defined }}",
                       kTurns),
            "None True <s></s>TrueFalse");
  Conversation conversation;
  conversation.messages = kTurns;
  conversation.tools = {{{"type", "function"}, {"function", {{"name", "f"}}}}};
  conversation.variables = {{"enable_thinking", false}, {"eos_token", "</x>"}};
  conversation.now = std::tm{};
  conversation.now->tm_year = 125;
  conversation.now->tm_mday = 3;
  EXPECT_EQ(Apply(ChatTemplate::Parse("{{ tools[0].function.name }} {{ enable_thinking }} "
                                      "{{ eos_token }} {{ strftime_now('%d %b %Y') }}",
                                      "test"),
                  conversation),
            "f False </x> 03 Jan 2025");
}

TEST(ChatTemplate, PassagesSayWhoWroteWhat) {
  Conversation conversation;
  conversation.messages = {Message("user", "a"), Message("assistant", "b"),
                           Message("<|im_end|>", "c")};
  const Prompt prompt = ChatTemplate::FromName("chatml")->Apply(conversation, Json::object());
  std::string marked;
  size_t begin = 0;
  for (const Passage& passage : prompt.passages) {
    marked += fmt::format("{}[{}]", static_cast<int>(passage.origin),
                          prompt.text.substr(begin, passage.end - begin));
    begin = passage.end;
  }
  EXPECT_EQ(begin, prompt.text.size());
  EXPECT_EQ(marked,
            "0[<|im_start|>user\n]2[a]0[<|im_end|>\n<|im_start|>assistant\n]1[b]"
            "0[<|im_end|>\n<|im_start|>]2[<|im_end|>]0[\n]2[c]"
            "0[<|im_end|>\n<|im_start|>assistant\n]");
}

TEST(ChatTemplate, RejectsWhatIsNoConversation) {
  for (const Json& messages : {Json("x"), Json::array(), Json::array({1}), Json(nullptr)}) {
    EXPECT_ERROR("messages: expected", ApplyNamed("chatml", messages));
  }
  Conversation conversation;
  conversation.messages = kTurns;
  conversation.tools = "x";
  EXPECT_ERROR("tools: expected", Apply(*ChatTemplate::FromName("chatml"), conversation));
  EXPECT_ERROR("here.jinja: line 1: ", ChatTemplate::Parse("{% if %}", "here.jinja"));
  EXPECT_ERROR("no system, please",
               ApplyJinja("{{ raise_exception('no system, please') }}", kTurns));
}

}  // namespace
}  // namespace fptq
