#include "eval/answer_file.h"

#include <gtest/gtest.h>

#include "base/test_util.h"

namespace fptq {
namespace {

std::vector<EvalDoc> Docs() {
  const EvalRequest request = {.context = "a", .continuation = " b"};
  return {{.id = 3, .requests = {request, request}, .label = 1},
          {.id = 5, .requests = {request}, .label = 0}};
}

const std::vector<LogLikelihood> kAnswers = {{.sum = -1.25, .tokens = 2, .greedy = false},
                                             {.sum = -1.0 / 3, .tokens = 1, .greedy = true},
                                             {.sum = -700, .tokens = 9, .greedy = false}};

TEST(AnswerFile, GivesBackWhatWasWritten) {
  const TempFolder folder;
  const auto docs = Docs();
  const AnswerFile file(
      folder.Write("answers", AnswerLines("piqa", 0, docs, kAnswers) +
                                  AnswerLines("piqa", 5, {&docs[1], 1}, {&kAnswers[0], 1})));
  const auto found = file.Find("piqa", 0, docs);
  ASSERT_EQ(found.size(), kAnswers.size());
  for (size_t i = 0; i < found.size(); ++i) {
    EXPECT_EQ(found[i].sum, kAnswers[i].sum) << "every bit of it";
    EXPECT_EQ(found[i].tokens, kAnswers[i].tokens);
    EXPECT_EQ(found[i].greedy, kAnswers[i].greedy);
  }
  EXPECT_EQ(file.Find("piqa", 5, {&docs[1], 1})[0].sum, -1.25);
  EXPECT_ERROR("no answer to piqa with 5 shots, doc_id 3, idx 0", file.Find("piqa", 5, docs));
  EXPECT_ERROR("mmlu", file.Find("mmlu", 0, docs));
}

TEST(AnswerFile, RefusesOtherFiles) {
  const TempFolder folder;
  EXPECT_ERROR("absent", AnswerFile(folder / "absent"));
  EXPECT_ERROR("line 1: not JSON", AnswerFile(folder.Write("text", "GGUF")));
  EXPECT_ERROR("task", AnswerFile(folder.Write("object", "{}\n")));
  EXPECT_ERROR(
      "log_likelihood",
      AnswerFile(folder.Write(
          "null",
          R"({"task": "piqa", "shots": 0, "doc_id": 1, "idx": 0, "log_likelihood": null})")));
}

}  // namespace
}  // namespace fptq
