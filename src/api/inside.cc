#include "fptq/inside.h"

#include "api/call.h"
#include "api/quantization.h"
#include "model/weights/dequantized.h"
#include "model/weights/float_layer.h"
#include "quant/run/observe.h"

namespace fptq {

void ObserveActivations(const std::filesystem::path& source, const QuantizationOptions& options,
                        int64_t sample_rows,
                        const std::function<void(const SiteActivations&)>& take) {
  AsApi([&] {
    if (sample_rows < 0) throw Error("sample_rows: expected 0 or more, found {}", sample_rows);
    const Quantization call(source, options);
    ThreadPool pool(ThreadCount(options.threads));
    call.CheckPlanLimits(pool);
    const auto take_layer = [&](int64_t layer, std::span<const SiteId> sites,
                                const LayerStatistics& statistics) {
      for (size_t i = 0; i < sites.size(); ++i) {
        const SiteStatistics& found = statistics[i];
        const std::vector<float> mean_squares = found.MeanSquares();
        take({.layer = layer,
              .site = SiteName(sites[i]),
              .rows = found.rows,
              .inputs = found.k(),
              .absmax = found.absmax,
              .mean_squares = mean_squares,
              .sample_rows = found.sample_rows,
              .sample =
                  found.sample.span().first(static_cast<size_t>(found.sample_rows * found.k()))});
      }
    };
    ObserveCheckpoint(call.location, call.recipe, options.calibration, sample_rows, pool,
                      ProgressOf(options.progress), take_layer);
  });
}

std::vector<std::string> LinearNames(const std::filesystem::path& model) {
  return AsApi([&] { return LinearNames(ModelSource::Open(model)); });
}

Weights ReadWeights(const std::filesystem::path& model, const std::string& linear) {
  return AsApi([&] {
    SourceLinear found = DequantizedLinear(ModelSource::Open(model), linear);
    return Weights{.channels = found.channels,
                   .inputs = found.k,
                   .values = {found.weight.data(), found.weight.data() + found.weight.size()}};
  });
}

}  // namespace fptq
