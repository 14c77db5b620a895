#include "eval/task.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "base/test_util.h"
#include "eval/testing.h"

namespace fptq {
namespace {

EvalDoc Doc(std::vector<std::string> continuations, int64_t label) {
  EvalDoc doc{.id = 0, .requests = {}, .label = label};
  for (std::string& continuation : continuations) {
    doc.requests.push_back({.context = "The river", .continuation = std::move(continuation)});
  }
  return doc;
}

TEST(EvalTask, TheTableHasThePapersSuite) {
  std::set<std::string_view> names;
  for (const EvalTask& task : EvalTasks()) {
    EXPECT_TRUE(names.insert(task.name).second);
    EXPECT_EQ(&FindEvalTask(task.name), &task);
  }
  EXPECT_EQ(names, (std::set<std::string_view>{"lambada", "piqa", "hellaswag", "winogrande",
                                               "arc_easy", "arc_challenge", "mmlu"}));
  EXPECT_ERROR("lambada, piqa", FindEvalTask("boolq"));
}

TEST(EvalTask, ChoiceByLogLikelihoodAndPerCharacter) {
  const EvalTask& task = FindEvalTask("piqa");
  // -8 beats -9; per character -9/6 beats -8/4.
  const std::vector<LogLikelihood> answers = {{.sum = -9, .tokens = 2}, {.sum = -8, .tokens = 1}};
  const DocScore first = ScoreDoc(task, Doc({" abcde", " abc"}, 0), answers);
  EXPECT_FALSE(first.correct);
  EXPECT_TRUE(first.normalized_correct);
  EXPECT_EQ(first.log_likelihood, -9);
  const DocScore second = ScoreDoc(task, Doc({" abcde", " abc"}, 1), answers);
  EXPECT_TRUE(second.correct);
  EXPECT_FALSE(second.normalized_correct);
  EXPECT_FALSE(second.Correct(task.metric));
  EXPECT_TRUE(second.Correct(TaskMetric::kAccuracy));
}

TEST(EvalTask, LengthIsInCharactersNotBytes) {
  // Four characters each, though the first has seven bytes: -8 / 4 beats -9 / 4, -8 / 4 not -9 / 7.
  const std::vector<LogLikelihood> answers = {{.sum = -9, .tokens = 2}, {.sum = -8, .tokens = 1}};
  EXPECT_TRUE(ScoreDoc(FindEvalTask("piqa"), Doc({" \u00e9\u00e9\u00e9", " abc"}, 1), answers)
                  .normalized_correct);
}

TEST(EvalTask, OfEqualScoresTheFirstCounts) {
  const std::vector<LogLikelihood> answers = {{.sum = -2, .tokens = 1}, {.sum = -2, .tokens = 2}};
  EXPECT_TRUE(ScoreDoc(FindEvalTask("mmlu"), Doc({" A", " B"}, 0), answers).correct);
  EXPECT_FALSE(ScoreDoc(FindEvalTask("mmlu"), Doc({" A", " B"}, 1), answers).correct);
}

TEST(EvalTask, LambadaIsGreedy) {
  const EvalTask& task = FindEvalTask("lambada");
  const EvalDoc doc = Doc({" word"}, 0);
  EXPECT_TRUE(
      ScoreDoc(task, doc, std::vector<LogLikelihood>{{.sum = -9, .tokens = 1, .greedy = true}})
          .correct);
  EXPECT_FALSE(ScoreDoc(task, doc, std::vector<LogLikelihood>{{.sum = -1, .tokens = 1}}).correct);
}

TEST(EvalTask, WhatCannotBeScoredCountsNowhere) {
  const EvalTask& task = FindEvalTask("piqa");
  const std::vector<LogLikelihood> answers = {{.sum = -9, .tokens = 2}, {}};
  const DocScore unscored = ScoreDoc(task, Doc({" a", ""}, 0), answers);
  EXPECT_FALSE(unscored.scored);
  const DocScore right = {.correct = true, .normalized_correct = true, .log_likelihood = -2};
  const DocScore wrong = {.correct = false, .normalized_correct = false, .log_likelihood = -4};
  const std::vector<DocScore> scores = {right, unscored, wrong}, others = {wrong, right, unscored};
  const TaskResult result = Summarize(task, scores);
  EXPECT_EQ(result.documents, 2);
  EXPECT_EQ(result.accuracy.mean, 0.5);
  EXPECT_EQ(result.perplexity.mean, std::exp(3.0));
  EXPECT_EQ(PairedDifference(task, scores, others).mean, 1);  // of the first document
  const TaskResult none = Summarize(task, {&unscored, 1});
  EXPECT_EQ(none.documents, 0);
  EXPECT_TRUE(std::isnan(none.primary.mean));
}

std::vector<DocScore> Scores(const std::vector<int>& correct) {
  std::vector<DocScore> scores;
  for (const int c : correct) {
    scores.push_back({.correct = c != 0, .normalized_correct = c == 0, .log_likelihood = -1.0 - c});
  }
  return scores;
}

TEST(EvalTask, SummaryHasBinomialErrors) {
  const TaskResult result = Summarize(FindEvalTask("arc_easy"), Scores({1, 1, 1, 0}));
  EXPECT_DOUBLE_EQ(result.accuracy.mean, 0.75);
  // sqrt(p (1 - p) / (n - 1))
  EXPECT_DOUBLE_EQ(result.accuracy.standard_error, std::sqrt(0.75 * 0.25 / 3));
  EXPECT_DOUBLE_EQ(result.normalized_accuracy.mean, 0.25);
  EXPECT_DOUBLE_EQ(result.primary.mean, 0.75);
  EXPECT_DOUBLE_EQ(result.perplexity.mean, std::exp(1.75));
  EXPECT_DOUBLE_EQ(Summarize(FindEvalTask("hellaswag"), Scores({1, 1, 1, 0})).primary.mean, 0.25);
}

TEST(EvalTask, PairedDifferenceKnowsThePairs) {
  const EvalTask& task = FindEvalTask("arc_easy");
  const auto a = Scores({1, 1, 0, 0}), b = Scores({1, 0, 0, 0}), c = Scores({0, 0, 1, 1});
  EXPECT_EQ(PairedDifference(task, a, a).mean, 0);
  EXPECT_EQ(PairedDifference(task, a, a).standard_error, 0);
  EXPECT_DOUBLE_EQ(PairedDifference(task, a, b).mean, 0.25);
  // Differences 0, 1, 0, 0: variance 3/16 * 4/3 over 4.
  EXPECT_DOUBLE_EQ(PairedDifference(task, a, b).standard_error, 0.25);
  EXPECT_DOUBLE_EQ(PairedDifference(task, a, c).mean, 0);
  EXPECT_DOUBLE_EQ(PairedDifference(task, a, c).standard_error, std::sqrt(1.0 / 3));
}

TEST(EvalTask, AverageOfIndependentEstimates) {
  const Estimate average = Average(std::vector<Estimate>{{0.5, 0.03}, {0.7, 0.04}});
  EXPECT_DOUBLE_EQ(average.mean, 0.6);
  EXPECT_DOUBLE_EQ(average.standard_error, 0.025);
}

TEST(EvalTask, AnswersDocumentAfterDocument) {
  ThreadPool pool(2);
  const auto model = LoadModel(TinyPath("tiny-llama-w4a8"), pool);
  const EvalTask& task = FindEvalTask("piqa");
  std::vector<EvalDoc> docs;
  docs.push_back(Doc({" runs", " sleeps", " to the sea"}, 0));
  docs.push_back(Doc({" through three towns"}, 0));
  docs.push_back(Doc({" sea", " towns"}, 1));
  const auto [answers, warning] = AnswerTask(*model, task, docs, {}, pool, nullptr);
  ASSERT_EQ(answers.size(), 6u);
  EXPECT_EQ(warning, "");
  const auto scores = ScoreTask(task, docs, answers);
  ASSERT_EQ(scores.size(), 3u);
  size_t first = 0;
  for (size_t i = 0; i < docs.size(); ++i) {
    const auto alone = AnswerTask(*model, task, {&docs[i], 1}, {}, pool, nullptr).answers;
    ASSERT_EQ(alone.size(), docs[i].requests.size());
    for (const LogLikelihood& answer : alone) EXPECT_EQ(answer.sum, answers[first++].sum);
    const DocScore score = ScoreDoc(task, docs[i], alone);
    EXPECT_EQ(score.log_likelihood, scores[i].log_likelihood);
    EXPECT_EQ(score.correct, scores[i].correct);
  }
}

// One request cannot end an evaluation.
TEST(EvalTask, NamesTheRequestsThatCannotBeScored) {
  ThreadPool pool(1);
  const auto model = LoadModel(TinyPath("tiny-llama-f32"), pool);
  std::string long_text;
  for (int64_t i = 0; i <= model->config().max_positions; ++i) long_text += " 7";
  std::vector<EvalDoc> docs = {Doc({" runs", ""}, 0), Doc({" runs", " sleeps"}, 0),
                               Doc({long_text, " sleeps"}, 0)};
  docs[0].id = 17;
  const auto [answers, warning] = AnswerTask(*model, FindEvalTask("piqa"), docs, {}, pool, nullptr);
  EXPECT_EQ(warning,
            "piqa: 2 of 6 requests cannot be scored, their documents do not count; the first is "
            "doc_id 17, idx 1: the continuation has no token");
  const bool scored[] = {true, false, true, true, false, true};
  for (size_t i = 0; i < answers.size(); ++i) EXPECT_EQ(answers[i].tokens > 0, scored[i]) << i;
  EXPECT_EQ(answers[0].sum, answers[2].sum);  // the same request
}

}  // namespace
}  // namespace fptq
