#include "cli/recipe_options.h"

namespace fptq {
namespace {

template <typename T>
void Override(T& field, const std::optional<T>& option) {
  if (option) field = *option;
}

}  // namespace

void RecipeOptions::AddTo(CLI::App& app) {
  app.add_option("--calibration", calibration_,
                 "where calibration tokens come from: 'random' (of the vocabulary) or a text FILE "
                 "(default random)");
  app.add_option("--calibration-tokens", calibration_tokens_, "how many of them (default 8192)");
  app.add_option("--seed", seed_, "of random calibration (default 0)");
  app.add_option("--group-size", group_size_,
                 "inputs that share a weight scale: 32, 64 or 128 (default 128)");
  app.add_option("--v0", v0_, "range up to which activations are static as they are (default 15)");
  app.add_option("--v1", v1_,
                 "range from which activations are dynamic, a scale per token (default 150)");
  app.add_option("--policy", policy_, "paper (by v0 and v1), static or dynamic (default paper)");
  app.add_option("--equalization", equalization_, "lae or none (default lae)");
  app.add_option("--recipe", file_,
                 "JSON file with these settings; options given here go before it");
}

QuantRecipe RecipeOptions::Recipe() const {
  QuantRecipe recipe = file_ ? RecipeFromJson(ReadJsonFile(*file_), *file_) : QuantRecipe();
  Override(recipe.calibration, calibration_);
  Override(recipe.calibration_tokens, calibration_tokens_);
  Override(recipe.seed, seed_);
  Override(recipe.group_size, group_size_);
  Override(recipe.v0, v0_);
  Override(recipe.v1, v1_);
  if (policy_) recipe.policy = PolicyModeFromName(*policy_, "--policy");
  if (equalization_) recipe.equalization = EqualizationFromName(*equalization_, "--equalization");
  Validate(recipe, "command line");
  return recipe;
}

}  // namespace fptq
