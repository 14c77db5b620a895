// The whole of quantization: a float checkpoint in, a W4A8 folder out.
#pragma once

#include <filesystem>
#include <vector>

#include "base/progress.h"
#include "base/thread_pool.h"
#include "files/output_folder.h"
#include "model/source.h"
#include "quant/calibrate/calibration_set.h"
#include "quant/decide/policy.h"
#include "quant/recipe.h"
#include "quant/run/custom_rounding.h"
#include "quant/run/report.h"

namespace fptq {

// The source, if it can be quantized by the recipe; Error otherwise.
ModelSource OpenFloatSource(const ModelLocation& location, const QuantRecipe& recipe);

// The files of a quantized folder, and those of the work on it.
extern const OutputKind kQuantizedFolder;

// The files that quantizing reads, which its output may not lie over.
InputFiles QuantizeInputs(const std::filesystem::path& source, const QuantRecipe& recipe);

struct QuantizeOptions {
  bool replace = false;       // an output that exists, if fptq wrote it
  bool restart = false;       // do not go on with what an interrupted run left
  bool keep = true;           // what is finished where this throws after calibration
  GivenSequences given = {};  // for the calibration of that name
  // Rounds in place of the recipe's method; empty: that does. Nobody can tell whether a function is
  // the one of an interrupted run, so that it begins anew.
  CustomRounding rounding = {};
};

// Calibrates, decides, equalizes and quantizes layer by layer, so that one layer is float-resident
// at a time, and writes a complete folder: there whole or not at all. The same source and recipe
// give the same bytes, whatever the number of threads and the kernels in use, and however often it
// was interrupted: "OUTPUT.partial" keeps the finished layers (run_state.h). `progress` may be
// empty.
QuantizeReport QuantizeCheckpoint(const ModelLocation& source, const std::filesystem::path& output,
                                  const QuantRecipe& recipe, const QuantizeOptions& options,
                                  ThreadPool& pool, const Progress& progress);

// The same into the staging() of `folder`, which the caller then commits, or drops;
// `options.replace` is the folder's.
QuantizeReport QuantizeInto(OutputFolder& folder, const ModelLocation& source,
                            const QuantRecipe& recipe, const QuantizeOptions& options,
                            ThreadPool& pool, const Progress& progress);

struct QuantizationPlan {
  std::vector<SitePolicy> sites;              // by layer and site
  std::vector<std::vector<int>> weight_bits;  // of each site's linears
  double bits_per_weight = 0;                 // as in QuantizeReport
  std::vector<std::string> warnings;          // the same
};

// What QuantizeCheckpoint would decide; writes nothing.
QuantizationPlan PlanCheckpoint(const ModelLocation& source, const QuantRecipe& recipe,
                                ThreadPool& pool, const Progress& progress,
                                GivenSequences given = {});

}  // namespace fptq
