#include "quant/named_recipes.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "base/test_util.h"

namespace fptq {
namespace {

TEST(NamedRecipes, AreValidAndDiffer) {
  std::set<std::string> distinct;
  for (const NamedRecipe& recipe : AllNamedRecipes()) {
    distinct.insert(RecipeToJson(LoadRecipe(std::string(recipe.name), "test")).dump());
  }
  EXPECT_EQ(distinct.size(), AllNamedRecipes().size());
  EXPECT_EQ(RecipeToJson(LoadRecipe("fptq", "test")), RecipeToJson(QuantRecipe()));
  EXPECT_EQ(LoadRecipe("fptq-paper", "test").policy, PolicyMode::kPaper);
}

TEST(NamedRecipes, ReadsFiles) {
  const TempFolder folder;
  const std::string file = folder.Write("mine.json", R"({"v0": 2})").string();
  EXPECT_EQ(LoadRecipe(file, "test").v0, 2);
  EXPECT_ERROR("fptq-paper", LoadRecipe((folder / "other.json").string(), "--recipe"));
}

}  // namespace
}  // namespace fptq
