#include "fptq/quantize.h"

#include <utility>

#include "api/call.h"
#include "api/quantization.h"
#include "base/json.h"
#include "model/weights/float_layer.h"
#include "quant/named_recipes.h"
#include "quant/run/forecast.h"
#include "quant/run/machine_speed.h"

namespace fptq {
namespace {

CustomRounding CustomRoundingOf(const QuantizationOptions& options) {
  if (!options.rounding) return {};
  return [&options](const SourceLinear& linear, int bits, const SitePolicy& site,
                    const SiteStatistics& inputs) -> std::optional<CustomRounded> {
    const std::vector<float> mean_squares = inputs.MeanSquares();
    auto rounded = options.rounding({.name = linear.name,
                                     .layer = site.layer,
                                     .site = SiteName(site.site),
                                     .channels = linear.channels,
                                     .inputs = linear.k,
                                     .group_size = site.group_size,
                                     .bits = bits,
                                     .symmetric = !site.HasZeroPoints(bits),
                                     .weights = linear.weight.span(),
                                     .mean_squares = mean_squares,
                                     .gram = inputs.gram.span()});
    if (!rounded) return std::nullopt;
    return CustomRounded{.q = std::move(rounded->q),
                         .scales = std::move(rounded->scales),
                         .zero_points = std::move(rounded->zero_points)};
  };
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
    const Quantization call(source, options);
    ThreadPool pool(ThreadCount(options.threads));
    OutputFolder::Check(output, options.replace, kQuantizedFolder,
                        QuantizeInputs(source, call.recipe));
    if (!options.ignore_limits) {
      const Forecast forecast =
          ForecastQuantization(OpenFloatSource(call.location, call.recipe), call.recipe,
                               pool.threads(), MeasureSpeed(pool));
      CheckLimits(forecast, LimitsFor(output), output.string());
    }
    const QuantizeReport report = QuantizeCheckpoint(call.location, output, call.recipe,
                                                     {.replace = options.replace,
                                                      .restart = options.restart,
                                                      .given = options.calibration,
                                                      .rounding = CustomRoundingOf(options)},
                                                     pool, ProgressOf(options.progress));
    return QuantizationSummary{.seconds = report.seconds,
                               .source_bytes = report.source_bytes,
                               .output_bytes = report.output_bytes,
                               .bits_per_weight = report.BitsPerWeight(),
                               .sites = report.CountChoices(),
                               .warnings = report.warnings,
                               .report_json = ReportToJson(report, call.recipe).dump()};
  });
}

std::string PlanQuantization(const std::filesystem::path& source,
                             const QuantizationOptions& options) {
  return AsApi([&] {
    const Quantization call(source, options);
    ThreadPool pool(ThreadCount(options.threads));
    call.CheckPlanLimits(pool);
    Json sites = Json::array();
    for (const SitePolicy& site : PlanCheckpoint(call.location, call.recipe, pool,
                                                 ProgressOf(options.progress), options.calibration)
                                      .sites) {
      sites.push_back(SiteReportToJson(site));
    }
    return sites.dump();
  });
}

}  // namespace fptq
