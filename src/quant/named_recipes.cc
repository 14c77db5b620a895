#include "quant/named_recipes.h"

#include "base/error.h"
#include "files/json_file.h"
#include "files/paths.h"

namespace fptq {
namespace {

constexpr NamedRecipe kRecipes[] = {
    {"fptq", "the default: W4A8, each site by its measured error", "{}"},
    {"fptq-paper", "as published: sites by range, random tokens, weights to nearest",
     R"({"policy": "paper", "calibration": "random", "rounding": "rtn"})"},
    {"smoothquant", "SmoothQuant (alpha 0.5) into the norms, static, weights to nearest",
     R"({"policy": "static", "equalization": "smoothquant", "rounding": "rtn"})"},
    {"rtn", "activations per token, weights to nearest",
     R"({"policy": "dynamic", "equalization": "none", "rounding": "rtn"})"},
    {"per-token", "activations per token, weights as by default",
     R"({"policy": "dynamic", "equalization": "none"})"},
    {"static", "activations per tensor, weights as by default",
     R"({"policy": "static", "equalization": "none"})"},
    {"w8a8", "8-bit weights", R"({"weight_bits": 8})"},
    {"w4a16", "float activations", R"({"activation_bits": 16})"},
};

}  // namespace

std::span<const NamedRecipe> AllNamedRecipes() { return kRecipes; }

QuantRecipe LoadRecipe(const std::string& name_or_file, std::string_view where) {
  std::string names;
  for (const NamedRecipe& recipe : kRecipes) {
    if (recipe.name == name_or_file) {
      return RecipeFromJson(ParseJson(recipe.json, recipe.name), recipe.name);
    }
    names += std::string(recipe.name) + ", ";
  }
  if (!Exists(name_or_file)) {
    throw Error("{}: expected {}or a file, found '{}'", where, names, name_or_file);
  }
  return RecipeFromJson(ReadJsonFile(name_or_file), name_or_file);
}

}  // namespace fptq
