#include "quant/run/observe.h"

#include <algorithm>
#include <iterator>

#include "model/model_text.h"
#include "quant/calibrate/hidden_states.h"
#include "quant/calibrate/layer_pass.h"
#include "quant/run/quantize.h"

namespace fptq {

void ObserveCheckpoint(
    const ModelLocation& location, const QuantRecipe& recipe, GivenSequences given,
    int64_t sample_rows, ThreadPool& pool, const Progress& progress,
    FunctionRef<void(int64_t, std::span<const SiteId>, const LayerStatistics&)> take) {
  const ModelSource source = OpenFloatSource(location, recipe);
  const CalibrationSet calibration = MakeCalibrationSet(recipe, source, LoadText(source).tokenizer,
                                                        /*scratch=*/{}, pool, progress, given);
  HiddenStates hidden(source, calibration, /*memory=*/{}, pool);
  const int64_t layers = source.config().layers;
  for (int64_t layer = 0; layer < layers; ++layer) {
    if (progress) progress("observing", layer, layers);
    LayerStatistics all;
    RunLayer(source, layer, {.sample_rows = sample_rows}, hidden, pool,
             [&](const LayerPart&, LayerStatistics& statistics) {
               std::ranges::move(statistics, std::back_inserter(all));
             });
    take(layer, SitesOf(source.config(), layer), all);
  }
  if (progress) progress("observing", layers, layers);
}

}  // namespace fptq
