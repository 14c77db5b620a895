#include "cli/recipe_options.h"

#include "quant/named_recipes.h"

namespace fptq {
namespace {

template <typename T>
void Override(T& field, const std::optional<T>& option) {
  if (option) field = *option;
}

}  // namespace

void RecipeOptions::AddTo(CLI::App& app) {
  app.add_option(
      "--calibration", calibration_,
      "what to calibrate with: 'self' (text that the model writes), 'chat' (conversations "
      "that it writes), 'random' (tokens of the vocabulary), a text FILE, a FILE.jsonl of "
      "{\"messages\": [...]}, or a mix of them, e.g. self:0.5,random:0.1,FILE (default "
      "self)");
  app.add_option("--calibration-tokens", calibration_tokens_,
                 "how many of them (default 8192; for gptq 4.3e13 divided by the weights of the "
                 "model's linears, from 8192 to 32768)");
  app.add_option("--seed", seed_, "of what is random in calibration (default 0)");
  app.add_option("--group-size", group_size_,
                 "inputs that share a weight scale: 32, 64 or 128 (default 128)");
  app.add_option("--policy", policy_,
                 "how to choose the quantization of activations: auto (by measured error), paper "
                 "(by v0 and v1), static or dynamic (default auto)");
  app.add_option("--v0", v0_,
                 "policy paper: range up to which activations are static as they are (default 15)");
  app.add_option(
      "--v1", v1_,
      "policy paper: range from which they are dynamic, a scale per token (default 150)");
  app.add_option("--equalization", equalization_, "lae, smoothquant or none (default lae)");
  app.add_option("--override", overrides_,
                 "REGEX=CHOICE pins the sites whose LAYER/SITE or module it matches: static, "
                 "dynamic, lae_static, lae_dynamic; may be repeated");
  app.add_option("--weight-bits", weight_bits_, "4 or 8 (default 4)");
  app.add_flag("--asymmetric", asymmetric_,
               "groups of 4-bit weights have zero points, which take 4 bits a group and lose an "
               "eighth less or more (transformers does not load such a folder)");
  app.add_option("--bits", bits_,
                 "what a weight may take on average, scales included: chooses group sizes, zero "
                 "points and linears of 8 bits so that least is lost, in place of --group-size, "
                 "--asymmetric and --weight-bits (at 4.25 and 4.5, k_proj and v_proj of many a "
                 "model have 8 bits; "
                 "vLLM does not load such a folder, as q, k and v are one linear there)");
  app.add_option("--head-bits", head_bits_,
                 "of lm_head: 8, or 16: the source's type (default 8; a head that is the embedding "
                 "is stored as that)");
  app.add_option("--embedding-bits", embedding_bits_,
                 "of the embedding: 8, or 16: the source's type (default 16; vLLM does not read 8, "
                 "and transformers does where lm_head is another matrix)");
  app.add_option("--activation-bits", activation_bits_, "8, or 16: float (default 8)");
  app.add_option("--rounding", rounding_,
                 "how to round weights to 4 bits: rtn, weighted or gptq (default gptq)");
  std::string names;
  for (const NamedRecipe& recipe : AllNamedRecipes()) {
    names += (names.empty() ? "" : ", ") + std::string(recipe.name);
  }
  app.add_option("--recipe", recipe_,
                 "a recipe's name (" + names +
                     ") or a JSON file with these settings; options given here go before it");
}

QuantRecipe RecipeOptions::Recipe() const {
  QuantRecipe recipe = recipe_ ? LoadRecipe(*recipe_, "--recipe") : QuantRecipe();
  Override(recipe.calibration, calibration_);
  Override(recipe.calibration_tokens, calibration_tokens_);
  Override(recipe.seed, seed_);
  Override(recipe.group_size, group_size_);
  Override(recipe.v0, v0_);
  Override(recipe.v1, v1_);
  if (policy_) recipe.policy = PolicyModeFromName(*policy_, "--policy");
  if (equalization_) recipe.equalization = EqualizationFromName(*equalization_, "--equalization");
  Override(recipe.weight_bits, weight_bits_);
  if (asymmetric_) recipe.symmetric = false;
  Override(recipe.bits, bits_);
  Override(recipe.head_bits, head_bits_);
  Override(recipe.embedding_bits, embedding_bits_);
  Override(recipe.activation_bits, activation_bits_);
  Override(recipe.rounding, rounding_);
  // Before those of the file, as the first that matches counts.
  std::vector<SiteOverride> overrides;
  for (const std::string& text : overrides_) {
    overrides.push_back(ParseOverride(text, "--override"));
  }
  recipe.overrides.insert(recipe.overrides.begin(), overrides.begin(), overrides.end());
  Validate(recipe, "command line");
  return recipe;
}

}  // namespace fptq
