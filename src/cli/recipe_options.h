// The options of quantize and plan that make a QuantRecipe.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <optional>
#include <string>

#include "quant/recipe.h"

namespace fptq {

class RecipeOptions {
 public:
  void AddTo(CLI::App& app);
  // The recipe file, or the defaults, with what is given on the command line put over it.
  QuantRecipe Recipe() const;

 private:
  std::optional<std::string> file_, calibration_, policy_, equalization_;
  std::optional<int64_t> calibration_tokens_, group_size_;
  std::optional<double> v0_, v1_;
  std::optional<uint64_t> seed_;
};

}  // namespace fptq
