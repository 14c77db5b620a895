#include "api/quantization.h"

#include <algorithm>

#include "base/error.h"
#include "base/json.h"
#include "machine/limits.h"
#include "quant/named_recipes.h"
#include "quant/run/forecast.h"

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
  if (!options.calibration.empty()) {
    recipe.calibration = kGivenCalibration;
    recipe.calibration_tokens = 0;
    recipe.sequence_length = 1;
    for (const std::vector<int32_t>& tokens : options.calibration) {
      recipe.calibration_tokens += std::ssize(tokens);
      recipe.sequence_length = std::max(recipe.sequence_length, std::ssize(tokens));
    }
  }
  Validate(recipe, "recipe");
  return recipe;
}

}  // namespace

Quantization::Quantization(const std::filesystem::path& source, const QuantizationOptions& given)
    : options(given), recipe(RecipeOf(given)), location(source, given.pre_tokenizer) {}

void Quantization::CheckPlanLimits(const ThreadPool& pool) const {
  if (options.ignore_limits) return;
  CheckLimits(ForecastPlan(OpenFloatSource(location, recipe), recipe, pool.threads()),
              {.memory_bytes = AvailableMemory(), .disk_bytes = 0}, location.path.string());
}

}  // namespace fptq
