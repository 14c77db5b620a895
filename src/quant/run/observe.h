// The activations of a float model, to be looked at.
#pragma once

#include <cstdint>

#include "base/progress.h"
#include "base/thread_pool.h"
#include "model/source.h"
#include "quant/calibrate/calibration_set.h"
#include "quant/calibrate/observer.h"
#include "quant/recipe.h"

namespace fptq {

// Runs the layers over the recipe's calibration and calls take(layer, sites, statistics) for each:
// rows of the sample as many as `sample_rows`, no gram.
void ObserveCheckpoint(
    const ModelLocation& location, const QuantRecipe& recipe, GivenSequences given,
    int64_t sample_rows, ThreadPool& pool, const Progress& progress,
    FunctionRef<void(int64_t, std::span<const SiteId>, const LayerStatistics&)> take);

}  // namespace fptq
