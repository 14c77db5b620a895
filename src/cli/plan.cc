#include <fmt/format.h>

#include "cli/arguments.h"
#include "cli/progress_bar.h"
#include "cli/recipe_options.h"
#include "cli/subcommands.h"
#include "cli/terminal.h"
#include "quant/quantize.h"

namespace fptq {

int RunPlan(int argc, char** argv) {
  CLI::App app(
      "Shows what quantize would decide for the activations of each layer; writes nothing.",
      "fptq plan");
  std::string source;
  RecipeOptions recipe_options;
  int threads = 1;
  app.add_option("SOURCE", source, "Hugging Face folder or GGUF file")->required();
  recipe_options.AddTo(app);
  AddThreads(app, threads);
  if (!ParseArguments(app, argc, argv)) return 0;

  const QuantRecipe recipe = recipe_options.Recipe();
  ThreadPool pool(threads);
  std::vector<SitePolicy> sites;
  {
    ProgressBar bar;
    sites = PlanCheckpoint(source, recipe, pool, bar.AsProgress());
  }
  std::vector<std::vector<std::string>> rows = {
      {"layer", "site", "range v", "scheme", "scale", "group", "why"}};
  for (const SitePolicy& s : sites) {
    rows.push_back({fmt::format("{}", s.layer), std::string(ActSiteName(s.site)),
                    fmt::format("{:.2f}", s.range), std::string(ActSchemeName(s.scheme)),
                    s.scheme == ActScheme::kDynamic ? "per token" : fmt::format("{:.6f}", s.scale),
                    fmt::format("{}", s.group_size), s.reason});
  }
  PrintTable(rows, "rlrlrrl");
  return 0;
}

}  // namespace fptq
