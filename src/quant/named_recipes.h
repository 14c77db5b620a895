// The recipes that ship with the program.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "quant/recipe.h"

namespace fptq {

struct NamedRecipe {
  std::string_view name;
  std::string_view what;  // in one line
  std::string_view json;  // as a recipe file has it: what differs from the defaults
};

std::span<const NamedRecipe> AllNamedRecipes();

// The recipe of that name, or else of the file. Error naming `where` if there is neither.
QuantRecipe LoadRecipe(const std::string& name_or_file, std::string_view where);

}  // namespace fptq
