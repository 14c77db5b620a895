#include <fmt/format.h>

#include <filesystem>
#include <memory>
#include <optional>
#include <set>

#include "base/error.h"
#include "cli/arguments.h"
#include "cli/interrupt.h"
#include "cli/load.h"
#include "cli/progress_bar.h"
#include "cli/result_files.h"
#include "cli/subcommands.h"
#include "cli/terminal.h"
#include "eval/divergence.h"
#include "eval/task.h"
#include "eval/text_tokens.h"
#include "files/output_folder.h"
#include "files/text_file.h"
#include "quant/named_recipes.h"
#include "quant/run/quantize.h"

namespace fptq {
namespace {

namespace fs = std::filesystem;

struct Arguments {
  std::string source, pre_tokenizer, output, text = "data/text/lambada.txt", data = "data/tasks";
  std::vector<std::string> recipes = {"fptq", "fptq-paper", "smoothquant",
                                      "rtn",  "per-token",  "static"};
  std::vector<std::string> metrics = {"perplexity", "kld"};
  int64_t context = 0, tokens = 16384, limit = 0;
  bool keep = false, force = false;
  int threads = 1;
};

bool Parse(int argc, char** argv, Arguments& args) {
  CLI::App app("Quantizes a model by several recipes and compares the results.", "fptq compare");
  app.add_option("SOURCE", args.source, "Hugging Face folder or GGUF file")->required();
  AddPreTokenizer(app, args.pre_tokenizer);
  app.add_option("-o,--output", args.output, "folder to write compare.md and compare.json to")
      ->required();
  app.add_option("--recipes", args.recipes, "names or files (default the W4A8 ones)")
      ->delimiter(',')
      ->allow_extra_args(false);
  app.add_option("--metrics", args.metrics,
                 "perplexity, kld (with the perplexity's ratio to the float model) and tasks of "
                 "fptq eval (default perplexity,kld)")
      ->delimiter(',')
      ->allow_extra_args(false);
  app.add_option("--text", args.text, "UTF-8 text (default data/text/lambada.txt)");
  app.add_option("--tokens", args.tokens, "of the text that are used (default 16384)")
      ->check(Between(int64_t{1}, kAnyCount));
  app.add_option("--context", args.context, "tokens of a window (default 1024)")
      ->check(Between(int64_t{2}, kAnyCount));
  app.add_option("--data", args.data, "folder with the tasks' request files (default data/tasks)");
  app.add_option("--limit", args.limit, "use only N documents of each task")
      ->check(Between(int64_t{1}, kAnyCount));
  auto* keep = app.add_flag("--keep", args.keep, "keep the quantized models, as OUTPUT/RECIPE");
  app.add_flag("--force", args.force, "replace kept models that exist, if fptq wrote them")
      ->needs(keep);
  AddThreads(app, args.threads);
  return ParseArguments(app, argc, argv);
}

// What is measured, read before anything is computed so that errors come at once.
struct Metrics {
  bool perplexity = false, divergence = false;
  std::vector<int32_t> tokens;
  struct Task {
    const EvalTask* task;
    std::vector<EvalDoc> docs;
  };
  std::vector<Task> tasks;
};

Metrics ReadMetrics(const Arguments& args, const Tokenizer& tokenizer) {
  Metrics metrics;
  for (const std::string& name : args.metrics) {
    if (name == "perplexity") {
      metrics.perplexity = true;
    } else if (name == "kld") {
      metrics.divergence = true;
    } else {
      const fs::path file = fs::path(args.data) / (name + ".0shot.jsonl.gz");
      metrics.tasks.push_back({&FindEvalTask(name), ReadRequestFile(file, args.limit)});
    }
  }
  if (metrics.perplexity || metrics.divergence) {
    metrics.tokens = TextTokens(tokenizer, TextFile(args.text).text(), args.tokens);
  }
  return metrics;
}

// The model of a recipe: its folder, if it is kept.
fs::path ModelFolder(const Arguments& args, const std::string& recipe) {
  return fs::path(args.output) / fs::path(recipe).stem();
}

ResultFiles Results(const Arguments& args) {
  const fs::path output = args.output;
  return {.text = output / "compare.md", .json = output / "compare.json"};
}

InputFiles Inputs(const Arguments& args) {
  std::vector<fs::path> paths = {args.source, args.text, args.data};
  for (const std::string& recipe : args.recipes) {
    paths.emplace_back(recipe);
    std::ranges::move(CalibrationFiles(LoadRecipe(recipe, "--recipes").calibration),
                      std::back_inserter(paths));
  }
  return InputFiles(paths);
}

// No two recipes may have one folder, nor one the name of something else that is written.
void CheckNames(const Arguments& args) {
  std::set<fs::path> names = {Results(args).text, Results(args).json};
  for (const std::string& recipe : args.recipes) {
    const fs::path folder = ModelFolder(args, recipe);
    const std::string name = folder.filename().string();
    if (name.empty() || name == "." || name == "..") {
      throw Error("--recipes: expected a file whose name can be that of a folder, found '{}'",
                  recipe);
    }
    if (!args.keep) continue;
    for (const char* suffix : {"", ".partial"}) {
      if (names.insert(folder.string() + suffix).second) continue;
      throw Error("--recipes: '{}' cannot be kept as {}, as something else is to have that name",
                  recipe, folder.string());
    }
  }
}

// Makes the folder of the output, and complains before anything is computed.
void CheckOutputs(const Arguments& args, const InputFiles& inputs) {
  CheckNames(args);
  std::error_code error;
  fs::create_directories(args.output, error);
  if (error) throw Error("{}: cannot create the folder: {}", args.output, error.message());
  CheckResultFiles(Results(args), {{"source", "rows"}}, inputs);
  for (const std::string& recipe : args.recipes) {
    // Models that are not kept lie elsewhere. But a folder of that name that is not a model says
    // that OUTPUT is not what the user takes it for.
    OutputFolder::Check(ModelFolder(args, recipe), args.force || !args.keep, kQuantizedFolder,
                        inputs);
  }
}

// A row of the table: column -> text for people, with the numbers in `json`.
struct Row {
  std::vector<std::pair<std::string, std::string>> cells;
  Json json;

  void Add(const std::string& column, const std::string& field, double value, double error,
           int digits, double unit = 1) {
    cells.emplace_back(
        column, fmt::format("{:.{}f} +- {:.{}f}", value * unit, digits, error * unit, digits));
    json[field] = value;
    json[field + "_standard_error"] = error;
  }
};

// `reference` null: the model is the float one itself.
void Measure(const Arguments& args, const Metrics& metrics, const Model& model,
             const Model* reference, ThreadPool& pool, const Progress& progress, Row& row) {
  const std::span<const int32_t> prefix = model.tokenizer.prefix();
  const int64_t context = ChooseContext(args.context, /*otherwise=*/1024, model.config());
  if (metrics.divergence && reference != nullptr) {
    const Divergence d = MeasureDivergence(model, *reference, metrics.tokens, prefix,
                                           {.context = context}, pool, progress);
    if (metrics.perplexity) {
      row.Add("perplexity", "perplexity", d.model.perplexity, d.model.standard_error, 3);
    }
    row.Add("ratio", "perplexity_ratio", d.ratio.mean, d.ratio.standard_error, 4);
    row.Add("KL", "kl_divergence", d.kl.mean, d.kl.standard_error, 4);
    row.Add("top-1 %", "top1_agreement", d.top1.mean, d.top1.standard_error, 2, 100);
  } else if (metrics.perplexity) {
    const PerplexityResult result =
        MeasurePerplexity(model, metrics.tokens, prefix, {.context = context}, pool, progress);
    row.Add("perplexity", "perplexity", result.perplexity, result.standard_error, 3);
  }
  std::vector<Estimate> scores;
  for (const Metrics::Task& task : metrics.tasks) {
    const auto answers = AnswerTask(model, *task.task, task.docs, {}, pool, progress);
    const auto answered = ScoreTask(*task.task, task.docs, answers.answers);
    if (!answers.warning.empty()) NoteWarnings({answers.warning});
    scores.push_back(Summarize(*task.task, answered).primary);
    row.Add(std::string(task.task->name) + " %", std::string(task.task->name), scores.back().mean,
            scores.back().standard_error, 2, 100);
  }
  if (scores.size() > 1) {
    const Estimate average = Average(scores);
    row.Add("average %", "average", average.mean, average.standard_error, 2, 100);
  }
}

Row RunRecipe(const Arguments& args, const std::string& recipe, const InputFiles& inputs,
              const Metrics& metrics, const Model& reference, ThreadPool& pool,
              const Progress& progress) {
  OutputFolder folder(
      args.keep ? ModelFolder(args, recipe) : fs::path(args.output) / ".fptq-compare", args.force,
      kQuantizedFolder, inputs);
  const QuantRecipe settings = LoadRecipe(recipe, "--recipes");
  const QuantizeReport report =
      QuantizeInto(folder, Locate(args.source, args.pre_tokenizer), settings,
                   {.replace = args.force, .restart = true, .keep = false}, pool, progress);
  if (args.keep) folder.Commit();
  NoteWarnings(report.warnings);
  Row row;
  row.cells = {{"recipe", recipe},
               {"bits", fmt::format("{:.2f}", report.BitsPerWeight())},
               {"time", FormatSeconds(report.seconds)}};
  row.json = {{"recipe", recipe},
              {"settings", RecipeToJson(settings)},
              {"bits_per_weight", report.BitsPerWeight()},
              {"seconds", report.seconds}};
  const auto model =
      LoadModelAndWarn((args.keep ? folder.path() : folder.staging()).string(), pool);
  Measure(args, metrics, *model, &reference, pool, progress, row);
  return row;
}

// Columns in the order in which they appear first; a row that lacks one leaves it blank.
std::vector<std::vector<std::string>> Table(const std::vector<Row>& rows) {
  std::vector<std::vector<std::string>> table(1);
  for (const Row& row : rows) {
    for (const auto& [column, text] : row.cells) {
      if (std::ranges::find(table[0], column) == table[0].end()) table[0].push_back(column);
    }
  }
  for (const Row& row : rows) {
    auto& cells = table.emplace_back(table[0].size());
    for (const auto& [column, text] : row.cells) {
      const auto at = std::ranges::find(table[0], column) - table[0].begin();
      cells[static_cast<size_t>(at)] = text;
    }
  }
  return table;
}

std::string Markdown(const std::vector<std::vector<std::string>>& table) {
  std::string text;
  for (size_t i = 0; i < table.size(); ++i) {
    for (const std::string& cell : table[i]) text += "| " + cell + " ";
    text += "|\n";
    if (i > 0) continue;
    for (size_t c = 0; c < table[i].size(); ++c) text += c == 0 ? "|---" : "|---:";
    text += "|\n";
  }
  return text;
}

// After each row, so that an interruption or an error loses none.
void WriteRows(const Arguments& args, const std::vector<Row>& rows) {
  const size_t all = 1 + args.recipes.size();
  Json json = {{"source", args.source},
               {"text", args.text},
               {"complete", rows.size() == all},
               {"rows", Json::array()}};
  for (const Row& row : rows) json["rows"].push_back(row.json);
  std::string text = Markdown(Table(rows));
  if (rows.size() < all) {
    text += fmt::format("\nIncomplete: {} of {} rows are measured.\n", rows.size(), all);
  }
  WriteResultFiles(Results(args), text, json);
}

}  // namespace

int RunCompare(int argc, char** argv) {
  Arguments args;
  if (!Parse(argc, argv, args)) return 0;
  const InputFiles inputs = Inputs(args);
  CheckOutputs(args, inputs);
  ThreadPool pool(args.threads);
  const auto reference = LoadModelAndWarn(Locate(args.source, args.pre_tokenizer), pool);
  const Metrics metrics = ReadMetrics(args, reference->tokenizer);

  std::vector<Row> rows(1);
  rows[0].cells = {{"recipe", "source"}};
  rows[0].json = {{"recipe", "source"}};
  try {
    const InterruptScope interrupt(/*second_press_exits=*/false);
    ProgressBar bar(&interrupt.pressed());
    Measure(args, metrics, *reference, nullptr, pool, bar.AsProgress(), rows[0]);
    WriteRows(args, rows);
    for (const std::string& recipe : args.recipes) {
      rows.push_back(RunRecipe(args, recipe, inputs, metrics, *reference, pool, bar.AsProgress()));
      WriteRows(args, rows);
    }
  } catch (const Interrupted&) {
    Note(fmt::format("fptq: interrupted; what was measured is in {}\n",
                     Results(args).text.string()));
    throw;
  }
  const auto table = Table(rows);
  PrintTable(table, "l" + std::string(table[0].size() - 1, 'r'));
  return 0;
}

}  // namespace fptq
