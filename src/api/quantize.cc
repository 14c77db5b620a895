#include "quant/quantize.h"

#include "api/call.h"
#include "base/json.h"
#include "fptq/quantize.h"
#include "quant/forecast.h"
#include "quant/machine_speed.h"
#include "quant/named_recipes.h"

namespace fptq {
namespace {

QuantRecipe RecipeOf(const QuantizationOptions& options) {
  QuantRecipe recipe =
      options.recipe.empty() ? QuantRecipe() : LoadRecipe(options.recipe, "recipe");
  if (!options.settings_json.empty()) {
    Json json = RecipeToJson(recipe);
    json.merge_patch(ParseJson(options.settings_json, "settings"));
    recipe = RecipeFromJson(json, "settings");
  }
  Validate(recipe, "recipe");
  return recipe;
}

Json SiteJson(const SitePolicy& site) {
  Json alternatives = Json::object();
  for (const Alternative& a : site.alternatives) alternatives[ActChoiceName(a.choice)] = a.error;
  return {{"layer", site.layer},   {"site", ActSiteName(site.site)},
          {"range", site.range},   {"choice", ActChoiceName(site.choice)},
          {"scale", site.scale},   {"group_size", site.group_size},
          {"reason", site.reason}, {"alternatives", std::move(alternatives)}};
}

}  // namespace

std::vector<std::string> RecipeNames() {
  std::vector<std::string> names;
  for (const NamedRecipe& recipe : AllNamedRecipes()) names.emplace_back(recipe.name);
  return names;
}

QuantizationSummary Quantize(const std::filesystem::path& source,
                             const std::filesystem::path& output,
                             const QuantizationOptions& options) {
  return AsApi([&] {
    const QuantRecipe recipe = RecipeOf(options);
    const ModelLocation location(source, options.pre_tokenizer);
    ThreadPool pool(ThreadCount(options.threads));
    OutputFolder::Check(output, options.replace, kQuantizedFolder, QuantizeInputs(source, recipe));
    if (!options.ignore_limits) {
      const Forecast forecast = ForecastQuantization(OpenFloatSource(location, recipe), recipe,
                                                     pool.threads(), MeasureSpeed(pool));
      CheckLimits(forecast, LimitsFor(output), output.string());
    }
    const QuantizeReport report = QuantizeCheckpoint(
        location, output, recipe, {.replace = options.replace, .restart = options.restart}, pool,
        ProgressOf(options.progress));
    return QuantizationSummary{.seconds = report.seconds,
                               .source_bytes = report.source_bytes,
                               .output_bytes = report.output_bytes,
                               .bits_per_weight = report.BitsPerWeight(),
                               .sites = report.CountChoices(),
                               .warnings = report.warnings,
                               .report_json = ReportToJson(report, recipe).dump()};
  });
}

std::string PlanQuantization(const std::filesystem::path& source,
                             const QuantizationOptions& options) {
  return AsApi([&] {
    const QuantRecipe recipe = RecipeOf(options);
    const ModelLocation location(source, options.pre_tokenizer);
    ThreadPool pool(ThreadCount(options.threads));
    if (!options.ignore_limits) {
      CheckLimits(ForecastPlan(OpenFloatSource(location, recipe), recipe, pool.threads()),
                  {.memory_bytes = AvailableMemory(), .disk_bytes = 0}, source.string());
    }
    Json sites = Json::array();
    for (const SitePolicy& site :
         PlanCheckpoint(location, recipe, pool, ProgressOf(options.progress)).sites) {
      sites.push_back(SiteJson(site));
    }
    return sites.dump();
  });
}

}  // namespace fptq
