#include "quant/round/rounding.h"

#include <optional>
#include <string>
#include <utility>

#include "base/error.h"
#include "quant/round/gptq.h"
#include "quant/round/nearest.h"

namespace fptq {
namespace {

// The linears of 4 bits by `round`, those of 8 to nearest.
template <typename Round>
RoundedSite RoundEach(std::span<const SourceLinear> linears, const SiteStatistics& inputs,
                      const RoundingOptions& options, ThreadPool& pool, Round round) {
  FPTQ_CHECK(options.bits.size() == linears.size());
  const std::vector<float> mean_squares = inputs.MeanSquares();
  RoundedSite result;
  for (size_t i = 0; i < linears.size(); ++i) {
    result.linears.push_back(
        options.bits[i] == 4
            ? round(linears[i], mean_squares)
            : QuantizeNearest(linears[i], mean_squares, options.bits[i], options.groups, pool));
  }
  return result;
}

// Each linear by QuantizeGroups with the mean squares of the inputs.
RoundedSite RoundWeighted(std::span<const SourceLinear> linears, SiteStatistics& inputs,
                          const RoundingOptions& options, ThreadPool& pool) {
  return RoundEach(linears, inputs, options, pool, [&](const auto& linear, const auto& squares) {
    return QuantizeGroups(linear, squares, options.groups, pool);
  });
}

// By QuantizeNearest: scales of the groups' ranges, each weight to the nearest.
RoundedSite RoundToNearest(std::span<const SourceLinear> linears, SiteStatistics& inputs,
                           const RoundingOptions& options, ThreadPool& pool) {
  return RoundEach(linears, inputs, options, pool, [&](const auto& linear, const auto& squares) {
    return QuantizeNearest(linear, squares, /*bits=*/4, options.groups, pool);
  });
}

// All linears by RoundGptq with the sums of products of their inputs.
RoundedSite RoundByGptq(std::span<const SourceLinear> linears, SiteStatistics& inputs,
                        const RoundingOptions& options, ThreadPool& pool) {
  const std::optional<OutputError> error =
      OutputError::Make(std::move(inputs.gram), inputs.k(), options.groups.size, pool);
  const auto round = [&](const auto& linear, const auto&) {
    return RoundGptq(linear, *error, kGptqSweeps, options.groups, pool);
  };
  RoundedSite result = error ? RoundEach(linears, inputs, options, pool, round)
                             : RoundWeighted(linears, inputs, options, pool);
  if (!error) {
    result.note =
        "rounded channel by channel instead of by gptq: the sums of products of its inputs are "
        "beyond what float32 can factor";
  } else if (error->damping() != OutputError::kDampings[0]) {
    result.note = fmt::format(
        "gptq with a damping of {} instead of {} times the mean of the diagonal: its inputs are "
        "too much like each other",
        error->damping(), OutputError::kDampings[0]);
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

const RoundingMethod& RoundingWithoutInputs(const QuantRecipe& recipe) {
  const RoundingMethod& method = RoundingOf(recipe);
  return method.uses_gram ? FindRoundingMethod("weighted", "rounding") : method;
}

const RoundingMethod& RoundingOf(const QuantRecipe& recipe) {
  return recipe.weight_bits == 4 ? FindRoundingMethod(recipe.rounding, "rounding") : kMethods[0];
}

}  // namespace fptq
