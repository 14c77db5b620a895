// The options of quantize and plan that make a QuantRecipe.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "quant/recipe.h"

namespace fptq {

class RecipeOptions {
 public:
  void AddTo(CLI::App& app);
  // The recipe file, or the defaults, with what is given on the command line put over it.
  QuantRecipe Recipe() const;

 private:
  std::optional<std::string> recipe_, calibration_, policy_, equalization_, rounding_;
  std::vector<std::string> overrides_;
  std::optional<int64_t> calibration_tokens_, group_size_, weight_bits_, activation_bits_,
      head_bits_, embedding_bits_;
  std::optional<double> v0_, v1_, bits_;
  std::optional<uint64_t> seed_;
  bool asymmetric_ = false;
};

}  // namespace fptq
