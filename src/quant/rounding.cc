#include "quant/rounding.h"

#include <optional>
#include <string>
#include <utility>

#include "base/error.h"
#include "quant/gptq.h"
#include "quant/nearest.h"

namespace fptq {
namespace {

// Each linear by QuantizeGroups with the mean squares of the inputs.
RoundedSite RoundWeighted(std::span<const SourceLinear> linears, SiteStatistics& inputs,
                          const RoundingOptions& options, ThreadPool& pool) {
  const std::vector<float> mean_squares = inputs.MeanSquares();
  RoundedSite result;
  for (const SourceLinear& linear : linears) {
    result.linears.push_back(
        QuantizeGroups(linear, mean_squares, options.group_size, options.dtype, pool));
  }
  return result;
}

// Scales absmax / (2^(bits - 1) - 1), each weight to the nearest.
RoundedSite RoundToNearest(std::span<const SourceLinear> linears, SiteStatistics& inputs,
                           const RoundingOptions& options, ThreadPool& pool) {
  const std::vector<float> mean_squares = inputs.MeanSquares();
  RoundedSite result;
  for (const SourceLinear& linear : linears) {
    result.linears.push_back(QuantizeNearest(linear, mean_squares, options.bits, options.group_size,
                                             options.dtype, pool));
  }
  return result;
}

// All linears by RoundGptq with the sums of products of their inputs.
RoundedSite RoundByGptq(std::span<const SourceLinear> linears, SiteStatistics& inputs,
                        const RoundingOptions& options, ThreadPool& pool) {
  const std::optional<OutputError> error =
      OutputError::Make(std::move(inputs.gram), inputs.k(), options.group_size, pool);
  if (!error) {
    RoundedSite plain = RoundWeighted(linears, inputs, options, pool);
    plain.note =
        "rounded channel by channel instead of by gptq: the sums of products of its inputs are "
        "beyond what float32 can factor";
    return plain;
  }
  RoundedSite result;
  if (error->damping() != OutputError::kDampings[0]) {
    result.note = fmt::format(
        "gptq with a damping of {} instead of {} times the mean of the diagonal: its inputs are "
        "too much like each other",
        error->damping(), OutputError::kDampings[0]);
  }
  for (const SourceLinear& linear : linears) {
    result.linears.push_back(RoundGptq(linear, *error, kGptqSweeps, options.dtype, pool));
  }
  return result;
}

constexpr RoundingMethod kMethods[] = {
    {.name = "rtn", .equalizes = false, .uses_gram = false, .round = RoundToNearest},
    {.name = "weighted", .equalizes = false, .uses_gram = false, .round = RoundWeighted},
    {.name = "gptq", .equalizes = true, .uses_gram = true, .round = RoundByGptq},
};

}  // namespace

std::span<const RoundingMethod> AllRoundingMethods() { return kMethods; }

const RoundingMethod& FindRoundingMethod(std::string_view name, std::string_view where) {
  std::string names;
  for (const RoundingMethod& method : kMethods) {
    if (method.name == name) return method;
    names += (names.empty() ? "" : ", ") + std::string(method.name);
  }
  throw Error("{}: expected one of {}, found '{}'", where, names, name);
}

const RoundingMethod& RoundingOf(const QuantRecipe& recipe) {
  return recipe.weight_bits == 4 ? FindRoundingMethod(recipe.rounding, "rounding") : kMethods[0];
}

}  // namespace fptq
