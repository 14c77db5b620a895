#include "quant/observe.h"

#include "model/model.h"
#include "model/model_text.h"
#include "quant/hidden_states.h"
#include "quant/quantize.h"

namespace fptq {

void ObserveCheckpoint(const ModelLocation& location, const QuantRecipe& recipe,
                       GivenSequences given, int64_t sample_rows, ThreadPool& pool,
                       const Progress& progress,
                       FunctionRef<void(int64_t, const LayerStatistics&)> take) {
  const ModelSource source = OpenFloatSource(location, recipe);
  const CalibrationSet calibration = MakeCalibrationSet(recipe, source, LoadText(source).tokenizer,
                                                        /*scratch=*/{}, pool, progress, given);
  HiddenStates hidden(source, calibration, /*memory=*/{}, pool);
  const int64_t layers = source.config().layers;
  for (int64_t layer = 0; layer < layers; ++layer) {
    if (progress) progress("observing", layer, layers);
    LayerObserver observer(source.config(),
                           {.rows = calibration.TokenCount(), .sample_rows = sample_rows}, pool);
    hidden.Advance(ReadFloatLayer(source, layer, pool), layer, &observer);
    source.checkpoint().ReleasePages();
    take(layer, observer.Finish(layer));
  }
  if (progress) progress("observing", layers, layers);
}

}  // namespace fptq
