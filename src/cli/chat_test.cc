// Prompts of chats, seen from the command line: the same tokens as of a prompt that is written out.
#include <gtest/gtest.h>

#include "base/json.h"
#include "cli/testing.h"

namespace fptq {
namespace {

// The tiny model with a chat template of its own. <|im_start|> is its BOS, <|im_end|> its EOS.
class ChatTest : public testing::Test {
 protected:
  ChatTest() { std::filesystem::copy(Tiny("tiny-llama-f32"), folder_ / "model"); }

  std::string model() const { return folder_ / "model"; }
  void SetTemplate(std::string_view jinja) { folder_.Write("model/chat_template.jinja", jinja); }

  static std::vector<std::string> Greedy(std::vector<std::string> args) {
    args.insert(args.end(), {"--temperature", "0", "-n", "4"});
    return args;
  }
  // The answer without the newline that ends it.
  std::string Complete(const std::string& prompt) const {
    const std::string out = Succeed(Greedy({"run", model(), "-p", prompt})).out;
    return out.substr(0, out.size() - 1);
  }
  std::string Chat(std::string_view input, const std::vector<std::string>& more = {}) const {
    std::vector<std::string> args = Greedy({"run", model(), "--chat"});
    args.insert(args.end(), more.begin(), more.end());
    return Succeed(args, input).out;
  }
  // Of a chat that begins with `message`.
  int64_t PromptTokens(const std::string& message) const {
    const std::string err = Succeed(Greedy({"run", model(), "--chat", "-p", message})).err;
    const std::string_view kBefore = "[prompt: ";
    return std::stoll(err.substr(err.find(kBefore) + kBefore.size()));
  }

  TempFolder folder_;
};

// Has the markers of ChatML, and is none.
TEST_F(ChatTest, TheModelsOwnTemplateIsExecuted) {
  SetTemplate(
      "{%- for m in messages -%}{%- if m.role == 'assistant' -%}{{ m.content ~ '<|im_end|>' }}"
      "{%- else -%}{{ '<|im_start|>' ~ m.role ~ '<|im_sep|>' ~ m.content ~ '<|im_end|>' }}"
      "{%- endif -%}{%- if m.role == 'user' -%}{{ '<|im_start|>assistant<|im_sep|>' }}{%- endif -%}"
      "{%- endfor -%}");
  EXPECT_EQ(Chat("hi\n"), Complete("<|im_start|>user<|im_sep|>hi<|im_end|>"
                                   "<|im_start|>assistant<|im_sep|>") +
                              "\n");
}

TEST_F(ChatTest, TurnsAreWrittenExactly) {
  SetTemplate(
      "{{- bos_token -}}{%- for m in messages -%}{%- if m.role not in ['user', 'assistant'] -%}"
      "{{ raise_exception('no place for this role') }}{%- endif -%}"
      "{{ ('[INST] ' ~ m.content ~ ' [/INST]') if m.role == 'user' else "
      "(m.content ~ eos_token ~ ' ') }}{%- endfor -%}");
  const std::string first = Complete("<|im_start|>[INST] hi [/INST]");
  const std::string second =
      Complete("<|im_start|>[INST] hi [/INST]" + first + "<|im_end|> [INST] you [/INST]");
  EXPECT_EQ(Chat("hi\nyou\n"), first + "\n" + second + "\n");
  // Before anything is read.
  Fail("no place for this role", Greedy({"run", model(), "--chat", "--system", "x"}), "hi\n");
}

TEST_F(ChatTest, BosIsThereOnce) {
  const std::string jinja = "{% for m in messages %}{{ m.content }}{% endfor %}";
  SetTemplate(jinja);
  const int64_t without = PromptTokens("hi");
  SetTemplate("{{ bos_token }}" + jinja);
  EXPECT_EQ(PromptTokens("hi"), without + 1);
}

TEST_F(ChatTest, MessagesHoldNoControlTokens) {
  EXPECT_GT(PromptTokens("hi<|im_end|>"), PromptTokens("hi") + 2) << "as control, it is one more";
}

TEST_F(ChatTest, TakesATemplateFromAFile) {
  const std::string file = folder_.Write("mine.jinja", "{{ eos_token ~ messages[0].content }}>");
  const std::string answer = Chat("hi\n", {"--chat-template", file});
  EXPECT_EQ(answer, Complete("<|im_end|>hi>") + "\n");
  Fail("torn.jinja: line 2: ",
       Greedy({"run", model(), "--chat", "--chat-template", folder_.Write("torn.jinja", "\n{%")}));
  Fail("expected a file of Jinja or one of chatml|",
       Greedy({"run", model(), "--chat", "--chat-template", "bogus"}));
  folder_.Write("model/tokenizer_config.json", "{}");
  Fail("has no chat template; give one with --chat-template", Greedy({"run", model(), "--chat"}));
  EXPECT_EQ(Chat("hi\n", {"--chat-template", file}), Complete("hi>") + "\n");
}

}  // namespace
}  // namespace fptq
