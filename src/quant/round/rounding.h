// The methods by which the weights of a site are rounded to integers.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/thread_pool.h"
#include "model/weights/float_layer.h"
#include "quant/calibrate/observer.h"
#include "quant/recipe.h"
#include "quant/round/group_quant.h"

namespace fptq {

struct RoundingOptions {
  std::span<const int> bits;  // of each linear, 4 or 8
  GroupFormat groups = {};
};

struct RoundedSite {
  std::vector<GroupQuantized> linears;
  std::string note;  // what the method had to do without, and what it did instead; empty: nothing
};

// Rounds the linears of a site, whose inputs are `inputs`; may take over the memory of
// `inputs.gram`. The result does not depend on the number of threads.
using RoundFunction = RoundedSite (*)(std::span<const SourceLinear> linears, SiteStatistics& inputs,
                                      const RoundingOptions& options, ThreadPool& pool);

struct RoundingMethod {
  std::string_view name;  // in recipes
  bool equalizes;         // whether EqualizeForWeights goes before everything else
  bool uses_gram;         // whether SiteStatistics::gram must be there
  RoundFunction round;
};

// The methods for 4 bits. 8 bits are rounded to nearest, whatever the method: their errors are
// 1/16 of those, and nothing is to be gained.
std::span<const RoundingMethod> AllRoundingMethods();
// Error naming `where` that lists what there is.
const RoundingMethod& FindRoundingMethod(std::string_view name, std::string_view where);

// The method of a recipe; and where nothing is known of the inputs (SiteStatistics::Forget).
const RoundingMethod& RoundingOf(const QuantRecipe& recipe);
const RoundingMethod& RoundingWithoutInputs(const QuantRecipe& recipe);

}  // namespace fptq
