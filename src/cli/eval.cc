#include <fmt/format.h>

#include <chrono>
#include <optional>

#include "base/error.h"
#include "base/json.h"
#include "cli/arguments.h"
#include "cli/load.h"
#include "cli/progress_bar.h"
#include "cli/subcommands.h"
#include "cli/terminal.h"
#include "eval/answer_file.h"
#include "eval/task.h"
#include "files/atomic_write.h"
#include "files/paths.h"

namespace fptq {
namespace {

constexpr double kConfidence95 = 1.959964;  // standard errors

struct Arguments {
  std::string path, against, pre_tokenizer, against_details, data = "data/tasks", details;
  std::vector<std::string> tasks;
  std::optional<KvType> kv;
  FloatForm form = FloatForm::kFloat32;  // of `path`
  int64_t limit = 0, shots = 0;
  bool json = false;
  int threads = 1;
};

// A task and what each model makes of it.
struct TaskRun {
  const EvalTask* task;
  std::vector<EvalDoc> docs;
  std::vector<LogLikelihood> answers, reference_answers;  // the latter empty without --against

  std::vector<DocScore> Scores() const { return ScoreTask(*task, docs, answers); }
  std::vector<DocScore> ReferenceScores() const {
    return ScoreTask(*task, docs, reference_answers);
  }
};

bool Parse(int argc, char** argv, Arguments& args) {
  CLI::App app("Measures how well a model answers questions: the tasks of the FPTQ paper.",
               "fptq eval");
  app.add_option("MODEL", args.path,
                 "quantized folder, or float model: Hugging Face folder or GGUF file")
      ->required();
  app.add_option("--tasks", args.tasks, "tasks to run (default all that --data has)")
      ->delimiter(',')
      ->allow_extra_args(false);
  app.add_option("--data", args.data,
                 "folder with the request files TASK.Nshot.jsonl.gz (default data/tasks, where "
                 "scripts/fetch_data puts them)");
  app.add_option("--shots", args.shots, "solved examples before each question: 0 or 5 (default 0)")
      ->check(Between(int64_t{0}, int64_t{1000}));
  app.add_option("--limit", args.limit, "use only N documents of each task, spread over its file")
      ->check(Between(int64_t{1}, kAnyCount));
  auto* against = app.add_option(
      "--against", args.against,
      "also run this model, usually the float one, and report the paired difference");
  app.add_option("--against-details", args.against_details,
                 "the same, but take the other model's answers from what --details wrote")
      ->excludes(against);
  AddPreTokenizer(app, args.pre_tokenizer);
  AddActivations(app, args.form);
  AddKvType(app, "--kv", args.kv, "KV cache of MODEL");
  app.add_option("--details", args.details,
                 "also write MODEL's answer to each request to this file, a JSON object a line");
  app.add_flag("--json", args.json, "print one JSON object");
  AddThreads(app, args.threads);
  return ParseArguments(app, argc, argv);
}

std::filesystem::path RequestFile(const Arguments& args, std::string_view task) {
  return std::filesystem::path(args.data) / fmt::format("{}.{}shot.jsonl.gz", task, args.shots);
}

std::vector<TaskRun> ReadTasks(const Arguments& args) {
  std::vector<TaskRun> runs;
  for (const std::string& name : args.tasks) {
    const EvalTask& task = FindEvalTask(name);
    runs.push_back({&task, ReadRequestFile(RequestFile(args, name), args.limit), {}, {}});
  }
  if (!args.tasks.empty()) return runs;
  for (const EvalTask& task : EvalTasks()) {
    const auto path = RequestFile(args, task.name);
    if (Exists(path)) {
      runs.push_back({&task, ReadRequestFile(path, args.limit), {}, {}});
    }
  }
  if (runs.empty()) {
    throw Error(
        "{}: expected TASK.{}shot.jsonl.gz of at least one task; scripts/fetch_data gets them",
        args.data, args.shots);
  }
  return runs;
}

// Runs all tasks on a model and tells the speed.
void Run(const ModelLocation& location, FloatForm form, std::optional<KvType> kv,
         std::vector<TaskRun>& runs, std::vector<LogLikelihood> TaskRun::*answers,
         ThreadPool& pool) {
  const auto model = LoadModelAndWarn(location, pool, form);
  const auto start = std::chrono::steady_clock::now();
  size_t requests = 0;
  std::vector<std::string> warnings;
  {
    ProgressBar bar;
    for (TaskRun& run : runs) {
      TaskAnswers found =
          AnswerTask(*model, *run.task, run.docs, {.kv_type = kv}, pool, bar.AsProgress());
      run.*answers = std::move(found.answers);
      requests += (run.*answers).size();
      if (!found.warning.empty()) warnings.push_back(std::move(found.warning));
    }
  }
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  Note(fmt::format("[{}: {} requests in {}, {:.0f} a second]\n", location.path.string(), requests,
                   FormatSeconds(seconds.count()),
                   static_cast<double>(requests) / seconds.count()));
  NoteWarnings(warnings);
}

void WriteDetails(const Arguments& args, const std::vector<TaskRun>& runs) {
  OutputFile file(args.details);
  for (const TaskRun& run : runs) {
    const std::string lines = AnswerLines(run.task->name, args.shots, run.docs, run.answers);
    file.Write(lines);
  }
  file.Close();
}

void ReadDetails(const Arguments& args, std::vector<TaskRun>& runs) {
  const AnswerFile file(args.against_details);
  for (TaskRun& run : runs) {
    run.reference_answers = file.Find(run.task->name, args.shots, run.docs);
  }
}

Json Describe(const Estimate& difference) {
  const double margin = kConfidence95 * difference.standard_error;
  return {{"difference", difference.mean},
          {"difference_standard_error", difference.standard_error},
          {"difference_ci95", {difference.mean - margin, difference.mean + margin}}};
}

Json Describe(const TaskRun& run, int64_t shots) {
  const std::vector<DocScore> scores = run.Scores();
  const TaskResult result = Summarize(*run.task, scores);
  Json json = {{"documents", result.documents},
               {"shots", shots},
               {"metric", TaskMetricName(run.task->metric)},
               {"score", result.primary.mean},
               {"score_standard_error", result.primary.standard_error},
               {"accuracy", result.accuracy.mean},
               {"accuracy_standard_error", result.accuracy.standard_error}};
  if (run.task->metric == TaskMetric::kGreedyAccuracy) {
    json["perplexity"] = result.perplexity.mean;
    json["perplexity_standard_error"] = result.perplexity.standard_error;
  } else {
    json["normalized_accuracy"] = result.normalized_accuracy.mean;
    json["normalized_accuracy_standard_error"] = result.normalized_accuracy.standard_error;
  }
  if (run.reference_answers.empty()) return json;
  const std::vector<DocScore> reference_scores = run.ReferenceScores();
  const TaskResult reference = Summarize(*run.task, reference_scores);
  json["reference_score"] = reference.primary.mean;
  if (run.task->metric == TaskMetric::kGreedyAccuracy) {
    json["reference_perplexity"] = reference.perplexity.mean;
  }
  json.update(Describe(PairedDifference(*run.task, scores, reference_scores)));
  return json;
}

Json DescribeAverage(const std::vector<TaskRun>& runs) {
  std::vector<Estimate> scores, references, differences;
  for (const TaskRun& run : runs) {
    const std::vector<DocScore> doc_scores = run.Scores();
    const TaskResult result = Summarize(*run.task, doc_scores);
    if (result.documents == 0) continue;
    scores.push_back(result.primary);
    if (run.reference_answers.empty()) continue;
    const std::vector<DocScore> reference_scores = run.ReferenceScores();
    references.push_back(Summarize(*run.task, reference_scores).primary);
    differences.push_back(PairedDifference(*run.task, doc_scores, reference_scores));
  }
  const Estimate score = Average(scores);
  Json json = {{"score", score.mean}, {"score_standard_error", score.standard_error}};
  if (differences.empty()) return json;
  json["reference_score"] = Average(references).mean;
  json.update(Describe(Average(differences)));
  return json;
}

std::string Percent(const Json& json, const std::string& name) {
  if (!json.contains(name)) return "";
  return fmt::format("{:.2f} +- {:.2f}", 100 * json[name].get<double>(),
                     100 * json[name + "_standard_error"].get<double>());
}

std::vector<std::string> Row(const std::string& name, const Json& json) {
  std::vector<std::string> row = {name,
                                  json.contains("documents") ? json["documents"].dump() : "",
                                  json.value("metric", ""),
                                  Percent(json, "score"),
                                  Percent(json, "accuracy"),
                                  Percent(json, "normalized_accuracy"),
                                  ""};
  if (json.contains("perplexity")) {
    row.back() = fmt::format("{:.2f} +- {:.2f}", json["perplexity"].get<double>(),
                             json["perplexity_standard_error"].get<double>());
  }
  if (!json.contains("difference")) return row;
  row.push_back(fmt::format("{:.2f}", 100 * json["reference_score"].get<double>()));
  row.push_back(fmt::format("{:+.2f}", 100 * json["difference"].get<double>()));
  row.push_back(fmt::format("{:+.2f}..{:+.2f}", 100 * json["difference_ci95"][0].get<double>(),
                            100 * json["difference_ci95"][1].get<double>()));
  return row;
}

void PrintResults(const Arguments& args, const std::vector<TaskRun>& runs) {
  Json tasks = Json::object();
  for (const TaskRun& run : runs) tasks[std::string(run.task->name)] = Describe(run, args.shots);
  const Json average = DescribeAverage(runs);
  if (args.json) {
    return Print(DumpJson({{"tasks", tasks}, {"average", average}}) + "\n");
  }
  std::vector<std::vector<std::string>> rows = {
      {"task", "docs", "metric", "score %", "accuracy %", "normalized %", "perplexity"}};
  const bool paired = !args.against.empty() || !args.against_details.empty();
  if (paired) {
    rows[0].insert(rows[0].end(), {"reference %", "difference", "95 % interval"});
  }
  for (const auto& [name, json] : tasks.items()) rows.push_back(Row(name, json));
  rows.push_back(Row("average", average));
  PrintTable(rows, paired ? "lrlrrrrrrr" : "lrlrrrr");
}

}  // namespace

int RunEval(int argc, char** argv) {
  Arguments args;
  if (!Parse(argc, argv, args)) return 0;
  if (!args.details.empty()) CheckOutputFile(args.details, IfExists::kError);
  std::vector<TaskRun> runs = ReadTasks(args);
  ThreadPool pool(args.threads);
  if (!args.against_details.empty()) ReadDetails(args, runs);
  Run(Locate(args.path, args.pre_tokenizer, args.against), args.form, args.kv, runs,
      &TaskRun::answers, pool);
  if (!args.against.empty()) {
    Run(Locate(args.against, args.pre_tokenizer, args.path), FloatForm::kFloat32, {}, runs,
        &TaskRun::reference_answers, pool);
  }
  PrintResults(args, runs);
  if (!args.details.empty()) WriteDetails(args, runs);
  return 0;
}

}  // namespace fptq
