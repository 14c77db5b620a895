#include "base/error.h"
#include "base/fuzz/target.h"
#include "quant/recipe.h"

namespace fptq {

FPTQ_FUZZ_TARGET(recipe, kJson) {
  const Json json = RecipeToJson(RecipeFromJson(ParseJson(input, "file"), "file"));
  FPTQ_CHECK(RecipeToJson(RecipeFromJson(json, "file")) == json);
}

}  // namespace fptq
