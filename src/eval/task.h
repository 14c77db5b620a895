// Evaluation tasks: what is asked, and how the answers are scored.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "eval/log_likelihood.h"
#include "eval/request_file.h"
#include "eval/statistics.h"

namespace fptq {

// Of the requests of a document the model chooses the one with the largest score.
enum class TaskMetric {
  kAccuracy,            // score: the log-likelihood of the continuation
  kNormalizedAccuracy,  // score: that, divided by the continuation's length in characters
  kGreedyAccuracy,      // no choice: right if each token is the most likely one
};

std::string_view TaskMetricName(TaskMetric metric);

struct EvalTask {
  std::string_view name;
  TaskMetric metric;  // the one that the task is known by and that goes into the average
};

// All tasks: the paper's suite.
std::span<const EvalTask> EvalTasks();
// Error listing the names if there is none with this one.
const EvalTask& FindEvalTask(std::string_view name);

// What a model makes of a document.
struct DocScore {
  bool scored = true;               // false: one of its requests could not be; it counts nowhere
  bool correct = false;             // by kAccuracy, or kGreedyAccuracy
  bool normalized_correct = false;  // by kNormalizedAccuracy; the same where there is no choice
  double log_likelihood = 0;        // of the right continuation

  bool Correct(TaskMetric metric) const {
    return metric == TaskMetric::kNormalizedAccuracy ? normalized_correct : correct;
  }
};

// `answers`: of each request of the document. Of equal scores the first counts.
DocScore ScoreDoc(const EvalTask& task, const EvalDoc& doc, std::span<const LogLikelihood> answers);

struct TaskAnswers {
  std::vector<LogLikelihood> answers;  // to all requests, document after document
  // How many requests could not be scored, and which is the first; empty if all could.
  std::string warning;
};
TaskAnswers AnswerTask(const Model& model, const EvalTask& task, std::span<const EvalDoc> docs,
                       const LogLikelihoodOptions& options, ThreadPool& pool,
                       const Progress& progress);
std::vector<DocScore> ScoreTask(const EvalTask& task, std::span<const EvalDoc> docs,
                                std::span<const LogLikelihood> answers);

struct TaskResult {
  int64_t documents = 0;  // that are scored
  Estimate accuracy, normalized_accuracy;
  Estimate primary;     // the one that the task is known by
  Estimate perplexity;  // of the right continuation as a whole: exp(-mean log-likelihood)
};
// NaN if no document is scored.
TaskResult Summarize(const EvalTask& task, std::span<const DocScore> scores);

// The difference of two models' accuracies on the same documents, by the task's metric, with the
// error of the paired differences; NaN if no document is scored by both.
Estimate PairedDifference(const EvalTask& task, std::span<const DocScore> scores,
                          std::span<const DocScore> reference);

// The mean of independent estimates.
Estimate Average(std::span<const Estimate> estimates);

}  // namespace fptq
