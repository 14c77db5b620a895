// All weights of a source are read once before work begins, which takes hours for a large model:
// what is wrong with them is told in the first seconds.
#pragma once

#include "base/json.h"
#include "base/progress.h"
#include "base/thread_pool.h"
#include "model/source.h"

namespace fptq {

// Checksums of the tensors that the model uses: those that belong to no layer, then of each layer.
// Error that names the tensor and the index of a value that is NaN, infinite, or beyond the type in
// which it is to be stored. `progress` may be empty.
Json CheckWeights(const ModelSource& source, ThreadPool& pool, const Progress& progress);

}  // namespace fptq
