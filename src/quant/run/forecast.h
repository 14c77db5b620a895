// What a quantization will take, told before it begins.
#pragma once

#include <cstdint>
#include <filesystem>

#include "model/source.h"
#include "quant/recipe.h"
#include "quant/run/machine_speed.h"

namespace fptq {

struct Forecast {
  double seconds = 0;  // of computing: a disk slower than that comes on top
  // At most, of memory that only the process has: the page cache, which the kernel can take back,
  // is not in it.
  int64_t memory_bytes = 0;
  // Weights of the model that writes its own calibration text, which lie in files and are read for
  // each of `text_steps` steps; 0 with other calibrations.
  int64_t text_bytes = 0;
  int64_t text_steps = 0;
  int64_t output_bytes = 0;  // QuantizeReport::output_bytes, or at most that
  int64_t disk_bytes = 0;    // at most at a time, the output among it
};

Forecast ForecastQuantization(const ModelSource& source, const QuantRecipe& recipe, int threads,
                              const MachineSpeed& speed);

// What PlanCheckpoint will take: memory alone, which holds what quantizing leaves to files.
Forecast ForecastPlan(const ModelSource& source, const QuantRecipe& recipe, int threads);

struct MachineLimits {
  int64_t memory_bytes = 0;  // that can be had without swapping
  int64_t disk_bytes = 0;    // free, or in use by an interrupted run that is to go on
};

// Those of this machine and of the file system that `output` is to lie on.
MachineLimits LimitsFor(const std::filesystem::path& output);

// Error naming `where` that says what is missing and what helps.
void CheckLimits(const Forecast& forecast, const MachineLimits& limits, std::string_view where);

}  // namespace fptq
