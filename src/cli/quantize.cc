#include "quant/run/quantize.h"

#include <fmt/format.h>

#include "cli/arguments.h"
#include "cli/interrupt.h"
#include "cli/load.h"
#include "cli/progress_bar.h"
#include "cli/recipe_options.h"
#include "cli/subcommands.h"
#include "cli/terminal.h"
#include "files/output_folder.h"
#include "quant/run/forecast.h"
#include "quant/run/readers.h"

namespace fptq {
namespace {

// What this will take; Error if the machine does not have it, unless `ignore_limits`.
void PrintForecast(const ModelLocation& source, const std::string& output,
                   const QuantRecipe& recipe, bool ignore_limits, ThreadPool& pool) {
  const ModelSource opened = OpenFloatSource(source, recipe);
  NoteWarnings(opened.warnings());
  const Forecast forecast =
      ForecastQuantization(opened, recipe, pool.threads(), MeasureSpeed(pool));
  Print(fmt::format("forecast {}, {} of memory, {} of disk of which {} stay\n",
                    FormatSeconds(forecast.seconds), FormatBytes(forecast.memory_bytes),
                    FormatBytes(forecast.disk_bytes), FormatBytes(forecast.output_bytes)));
  if (!ignore_limits) CheckLimits(forecast, LimitsFor(output), output);
}

void PrintSummary(const QuantizeReport& report, const std::string& output) {
  NoteWarnings(report.warnings);
  if (report.resumed_layers > 0) {
    Print(fmt::format("resumed  after {} layers\n", report.resumed_layers));
  }
  Print(fmt::format("time     {}\n", FormatSeconds(report.seconds)));
  Print(fmt::format("size     {} -> {}\n", FormatBytes(report.source_bytes),
                    FormatBytes(report.output_bytes)));
  Print(fmt::format("weights  {} in the linears at {:.2f} bits each, scales included\n",
                    FormatCount(report.linear_weights), report.BitsPerWeight()));
  std::string sites;
  for (const auto& [choice, count] : report.CountChoices()) {
    sites += fmt::format("{}{} {}", sites.empty() ? "" : ", ", count, choice);
  }
  Print(fmt::format("sites    {}\n", sites));
  Print(fmt::format("readers  {}\n", ReadersText(ReadersOf(ModelSource::Open(output)))));
  Print(fmt::format("written  {}\n", output));
}

QuantizeReport Quantize(const ModelLocation& source, const std::string& output,
                        const QuantRecipe& recipe, const QuantizeOptions& options,
                        ThreadPool& pool) {
  try {
    // What cannot be gone on with is removed first.
    const InterruptScope interrupt(/*second_press_exits=*/false);
    ProgressBar bar(&interrupt.pressed());
    return QuantizeCheckpoint(source, output, recipe, options, pool, bar.AsProgress());
  } catch (const Interrupted&) {
    if (Exists(OutputFolder::WorkPath(output))) {
      Note("fptq: interrupted; the same command goes on where this ended\n");
    }
    throw;
  }
}

}  // namespace

int RunQuantize(int argc, char** argv) {
  CLI::App app(
      "Quantizes a float model to W4A8 by FPTQ: 4-bit weights, 8-bit activations, no fine-tuning.",
      "fptq quantize");
  std::string source, pre_tokenizer, output;
  RecipeOptions recipe_options;
  QuantizeOptions options;
  bool dry_run = false, ignore_limits = false;
  int threads = 1;
  app.add_option("SOURCE", source, "Hugging Face folder or GGUF file")->required();
  AddPreTokenizer(app, pre_tokenizer);
  app.add_option("-o,--output", output, "folder to write")->required();
  recipe_options.AddTo(app);
  AddThreads(app, threads);
  app.add_flag("--force", options.replace, "replace the folder if it exists and fptq wrote it");
  app.add_flag("--restart", options.restart,
               "begin anew, though an interrupted run left OUTPUT.partial to go on with");
  app.add_flag("--dry-run", dry_run, "only say what it will take: time, memory, disk");
  app.add_flag("--ignore-limits", ignore_limits, "begin though memory or disk are too small");
  if (!ParseArguments(app, argc, argv)) return 0;

  const QuantRecipe recipe = recipe_options.Recipe();
  ThreadPool pool(threads);
  if (!dry_run) {
    OutputFolder::Check(output, options.replace, kQuantizedFolder, QuantizeInputs(source, recipe));
  }
  const ModelLocation location = Locate(source, pre_tokenizer);
  PrintForecast(location, output, recipe, ignore_limits, pool);
  if (dry_run) return 0;
  PrintSummary(Quantize(location, output, recipe, options, pool), output);
  return 0;
}

}  // namespace fptq
