// What QuantizationOptions stand for inside.
#pragma once

#include <filesystem>

#include "fptq/quantize.h"
#include "model/source.h"
#include "quant/recipe.h"
#include "quant/run/quantize.h"

namespace fptq {

struct Quantization {
  Quantization(const std::filesystem::path& source, const QuantizationOptions& options);

  // Error if memory does not suffice for PlanCheckpoint, unless limits are to be ignored.
  void CheckPlanLimits(const ThreadPool& pool) const;

  const QuantizationOptions& options;
  QuantRecipe recipe;
  ModelLocation location;
};

}  // namespace fptq
