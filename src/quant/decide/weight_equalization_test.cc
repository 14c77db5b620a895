#include "quant/decide/weight_equalization.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "base/test_paths.h"
#include "base/test_util.h"
#include "model/model.h"
#include "model/weights/float_layer.h"
#include "quant/calibrate/hidden_states.h"
#include "quant/round/group_quant.h"
#include "quant/testing.h"

namespace fptq {
namespace {

// A layer whose attention sees a channel 30 times as large as others.
SourceLayer OutlierLayer(const ModelSource& source) {
  SourceLayer layer = ReadLayer(source, 0);
  layer.norms.at(NormRole::kAttn).weight[5] *= 30;
  return layer;
}

// In F32, so that norms are divided without rounding.
ModelSource OpenAsF32(const std::string& name, const TempFolder& folder) {
  CopyModel(std::filesystem::path(kTestdata) / "models" / name, folder / name, [](Tensors&) {});
  return ModelSource::Open(folder / name);
}

struct Fixture {
  explicit Fixture(const std::string& name) : source(OpenAsF32(name, folder)) {}

  TempFolder folder;
  ModelSource source;
  CalibrationSet set = {{{1, 5, 9, 2, 77, 31, 8, 4}, {3, 3, 60, 12, 45}}};
  ThreadPool pool{2};

  LayerStatistics Observe(const SourceLayer& layer, HiddenStates& hidden) {
    LayerObserver observer(source.config(), SitesOf(source.config(), 0),
                           {.rows = set.TokenCount(), .sample_rows = 8}, pool);
    hidden.Advance(FloatLayerWeights(layer, pool), 0, &observer);
    return observer.Finish(0);
  }
};

class EqualizedLayer : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Model, EqualizedLayer,
                         testing::Values("tiny-llama-f32", "tiny-gpt-neox", "tiny-gpt2",
                                         "tiny-falcon", "tiny-falcon-grouped", "tiny-falcon-rw"));

TEST_P(EqualizedLayer, ComputesTheSame) {
  Fixture f(GetParam());
  SourceLayer layer = OutlierLayer(f.source);
  HiddenStates before(f.source, f.set, {}, f.pool), after(f.source, f.set, {}, f.pool);
  LayerStatistics statistics = f.Observe(layer, before);
  const WeightFormats formats(QuantRecipe(), f.source.config());
  const auto exponents =
      EqualizeForWeights(f.source.config(), formats, 0, layer, statistics, f.pool);
  EXPECT_GT(exponents[static_cast<size_t>(ActSite::kAttnIn)], 0);

  // The statistics are those of the equalized layer, and what comes out of it is as it was.
  const LayerStatistics equalized = f.Observe(layer, after);
  const SourceLayer next = ReadLayer(f.source, 1);
  const LayerStatistics expected = f.Observe(next, before), found = f.Observe(next, after);
  for (size_t site = 0; site < expected.size(); ++site) {
    const double range = expected[site].Range();
    for (size_t j = 0; j < expected[site].absmax.size(); ++j) {
      // Sums of some hundred products in float32.
      EXPECT_NEAR(statistics[site].absmax[j], equalized[site].absmax[j],
                  1e-4 * statistics[site].Range());
      EXPECT_NEAR(found[site].absmax[j], expected[site].absmax[j], 1e-4 * range);
    }
  }
}

TEST(EqualizeForWeights, LowersTheErrorOfRounding) {
  Fixture f("tiny-llama-f32");
  SourceLayer layer = OutlierLayer(f.source);
  HiddenStates hidden(f.source, f.set, {}, f.pool);
  LayerStatistics statistics = f.Observe(layer, hidden);
  const auto error = [&] {
    return QuantizeGroups(layer.linears[0][0], statistics[0].MeanSquares(), {.size = 32}, f.pool)
        .relative_error;
  };
  const double before = error();
  QuantRecipe recipe;
  recipe.group_size = 32;
  EqualizeForWeights(f.source.config(), WeightFormats(recipe, f.source.config()), 0, layer,
                     statistics, f.pool);
  EXPECT_LT(error(), before);
}

}  // namespace
}  // namespace fptq
