// A layer of the source, run over the calibration tokens with little of it in memory at a time.
#pragma once

#include <cstdint>
#include <optional>

#include "base/thread_pool.h"
#include "model/source.h"
#include "model/weights/float_layer.h"
#include "quant/calibrate/hidden_states.h"
#include "quant/calibrate/observer.h"

namespace fptq {

// What is in memory at a time: a dense layer; of a mixture all but its MLPs, then each of these.
struct LayerPart {
  int64_t layer = 0;
  std::optional<MlpId> mlp = {};  // of a mixture; none: all but its MLPs, or a dense layer
};

// The weights of the part and the sites that they are of. The MLPs of a mixture share kMlpIn: it is
// a site of all parts, without linears in the first one.
SourceLayer ReadPart(const ModelSource& source, const LayerPart& part);

// Runs the layer part by part over `hidden` and calls take(part, statistics) after each, when its
// weights are no longer in memory; it may keep the statistics. Each site is observed once, in the
// order of SitesOf(): kMlpIn in the first part. `options.rows` is set here.
void RunLayer(const ModelSource& source, int64_t layer, ObserverOptions options,
              HiddenStates& hidden, ThreadPool& pool,
              FunctionRef<void(const LayerPart&, LayerStatistics&)> take);
// The same where nothing is observed.
void RunLayer(const ModelSource& source, int64_t layer, HiddenStates& hidden, ThreadPool& pool);

}  // namespace fptq
