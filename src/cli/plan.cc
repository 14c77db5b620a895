#include <fmt/format.h>
#include <fmt/ranges.h>

#include "cli/arguments.h"
#include "cli/load.h"
#include "cli/progress_bar.h"
#include "cli/recipe_options.h"
#include "cli/subcommands.h"
#include "cli/terminal.h"
#include "machine/limits.h"
#include "quant/run/forecast.h"
#include "quant/run/quantize.h"

namespace fptq {

namespace {

// "static 1.21 %, lae_static 0.80 %"
std::string Errors(const std::vector<Alternative>& alternatives) {
  std::string text;
  for (const Alternative& alternative : alternatives) {
    text += fmt::format("{}{} {:.2f} %", text.empty() ? "" : ", ",
                        ActChoiceName(alternative.choice), 100 * alternative.error);
  }
  return text;
}

std::vector<std::vector<std::string>> PolicyRows(const QuantizationPlan& plan) {
  std::vector<std::vector<std::string>> rows = {
      {"layer", "site", "range v", "scheme", "scale", "bits", "group", "why"}};
  for (size_t i = 0; i < plan.sites.size(); ++i) {
    const SitePolicy& s = plan.sites[i];
    rows.push_back(
        {fmt::format("{}", s.layer), SiteName(s.site), fmt::format("{:.2f}", s.range),
         ActChoiceName(s.choice), s.scale > 0 ? fmt::format("{:.6f}", s.scale) : "",
         s.quantizes_weights() ? fmt::format("{}", fmt::join(plan.weight_bits[i], " ")) : "",
         s.quantizes_weights() ? fmt::format("{}{}", s.group_size, s.symmetric ? "" : " asymmetric")
                               : "",
         s.alternatives.empty() ? s.reason : Errors(s.alternatives)});
  }
  return rows;
}

}  // namespace

int RunPlan(int argc, char** argv) {
  CLI::App app(
      "Shows what quantize would decide for the activations and weights of each layer; writes "
      "nothing.",
      "fptq plan");
  std::string source, pre_tokenizer;
  RecipeOptions recipe_options;
  bool ignore_limits = false;
  int threads = 1;
  app.add_option("SOURCE", source, "Hugging Face folder or GGUF file")->required();
  AddPreTokenizer(app, pre_tokenizer);
  recipe_options.AddTo(app);
  AddThreads(app, threads);
  app.add_flag("--ignore-limits", ignore_limits, "begin though memory is too small");
  if (!ParseArguments(app, argc, argv)) return 0;

  const QuantRecipe recipe = recipe_options.Recipe();
  const ModelLocation location = Locate(source, pre_tokenizer);
  ThreadPool pool(threads);
  if (!ignore_limits) {
    CheckLimits(ForecastPlan(OpenFloatSource(location, recipe), recipe, threads),
                {.memory_bytes = AvailableMemory(), .disk_bytes = 0}, "plan");
  }
  QuantizationPlan plan;
  {
    ProgressBar bar;
    plan = PlanCheckpoint(location, recipe, pool, bar.AsProgress());
  }
  NoteWarnings(plan.warnings);
  PrintTable(PolicyRows(plan), "rlrlrlrl");
  Print(fmt::format("\n{:.4f} bits a weight of the linears, scales included\n",
                    plan.bits_per_weight));
  return 0;
}

}  // namespace fptq
