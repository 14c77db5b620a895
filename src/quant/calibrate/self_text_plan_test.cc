#include "quant/calibrate/self_text_plan.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <string_view>

#include "base/test_paths.h"
#include "base/test_util.h"

namespace fptq {
namespace {

const std::filesystem::path kModels = std::filesystem::path(kTestdata) / "models";

std::shared_ptr<const Model> Load(std::string_view name) {
  ThreadPool pool(1);
  return LoadModel(kModels / name, pool);
}

int32_t SpecialToken(const Tokenizer& tokenizer) {
  for (const int32_t id : tokenizer.ids()) {
    if (tokenizer.IsSpecial(id)) return id;
  }
  return -1;
}

TEST(SelfTextPlan, AsksAndAnswersInTurn) {
  const auto model = Load("tiny-llama-f32");
  const Tokenizer& tokenizer = model->tokenizer;
  const int32_t end = SpecialToken(tokenizer), word = tokenizer.Encode("river", {}).back();
  ASSERT_GE(end, 0);
  ASSERT_FALSE(tokenizer.IsSpecial(word));
  const auto template_tokens = [&](std::string_view text) {
    return tokenizer.Encode(text, {.parse_special = true, .add_prefix = false});
  };
  SelfTextPlan plan(/*seed=*/0, /*chat=*/true, *model);
  plan.Begin();
  std::vector<int32_t> written = {plan.Begin()}, expected;
  const auto expect = [&](std::string_view turn) {
    const std::vector<int32_t> tokens = template_tokens(turn);
    // Whatever is drawn meanwhile, the turn begins as the template has it.
    while (written.size() < expected.size() + tokens.size()) written.push_back(plan.Next(1, end));
    expected.insert(expected.end(), tokens.begin(), tokens.end());
    EXPECT_EQ(written, expected) << turn;
    for (int i = 0; i < 3; ++i) written.push_back(plan.Next(1, word));
    expected.insert(expected.end(), 3, word);
    EXPECT_EQ(written, expected);
  };
  expect("<|im_start|>user\n");
  for (int turn = 0; turn < 2; ++turn) {
    expect("<|im_end|>\n<|im_start|>assistant\n");
    expect("<|im_end|>\n<|im_start|>user\n");
  }
}

TEST(SelfTextPlan, BeginsAnotherTextWhereOneEnds) {
  const auto model = Load("tiny-llama-f32");
  const int32_t end = SpecialToken(model->tokenizer);
  SelfTextPlan plan(/*seed=*/0, /*chat=*/false, *model);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_FALSE(model->tokenizer.IsSpecial(plan.Begin()));
    for (int n = 0; n < 50; ++n) EXPECT_FALSE(model->tokenizer.IsSpecial(plan.Next(i, end)));
  }
}

TEST(SelfTextPlan, WantsATemplateWithTurns) {
  const auto loaded = Load("tiny-llama-f32");
  Model& model = const_cast<Model&>(*loaded);  // nobody else has it
  for (const char* text : {"", "{{ raise_exception('no') }}", "the same whatever is said",
                           "{% for m in messages %}{{ m['content'] }}{% endfor %}"}) {
    model.chat_templates.texts.clear();
    if (*text != 0) model.chat_templates.texts["default"] = text;
    SelfTextPlan(/*seed=*/0, /*chat=*/false, model);  // needs none
    EXPECT_ERROR("", SelfTextPlan(/*seed=*/0, /*chat=*/true, model));
  }
  EXPECT_ERROR("expected a chat template that begins and ends turns",
               SelfTextPlan(/*seed=*/0, /*chat=*/true, model));
}

}  // namespace
}  // namespace fptq
