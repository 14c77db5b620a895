#include "quant/calibrate/observer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

#include "base/test_paths.h"
#include "base/test_util.h"
#include "model/model.h"
#include "model/weights/float_layer.h"
#include "quant/calibrate/hidden_states.h"

namespace fptq {
namespace {

const std::filesystem::path kModel = std::filesystem::path(kTestdata) / "models/tiny-llama-f32";
constexpr int64_t kSampleRows = 40;

CalibrationSet TestSet(const ModelSource& source, ThreadPool& pool) {
  QuantRecipe recipe;
  recipe.calibration_tokens = 150;
  recipe.sequence_length = 64;
  return MakeCalibrationSet(recipe, source, Tokenizer(source.LoadTokenizer()), {}, pool, {});
}

std::vector<LayerStatistics> Observe(const ModelSource& source, const CalibrationSet& set,
                                     ThreadPool& pool) {
  std::vector<LayerStatistics> layers;
  HiddenStates hidden(source, set, {}, pool);
  for (int64_t layer = 0; layer < source.config().layers; ++layer) {
    LayerObserver observer(source.config(), SitesOf(source.config(), layer),
                           {.rows = set.TokenCount(), .sample_rows = kSampleRows, .gram = true},
                           pool);
    hidden.Advance(FloatLayerWeights(ReadLayer(source, layer), pool), layer, &observer);
    layers.push_back(observer.Finish(layer));
  }
  return layers;
}

// All rows that the whole forward pass shows, by layer and site.
using Rows = std::map<std::pair<int64_t, ActSite>, std::vector<float>>;
Rows ForwardRows(const CalibrationSet& set, ThreadPool& pool) {
  struct Keeper : ActivationObserver {
    Rows rows;
    void Observe(int64_t layer, const SiteId& site, std::span<const float> seen, int64_t) override {
      std::ranges::copy(seen, std::back_inserter(rows[{layer, site.role}]));
    }
  } keeper;
  const auto model = LoadModel(kModel, pool);
  KvCache cache(model->config(), KvType::kF32, PagesFor(set.LongestSequence()),
                model->config().layers);
  const std::vector<int32_t> pages = PageRange(0, cache.pages());
  Activations act(model->config(), set.LongestSequence(), 1);
  for (const auto& sequence : set.sequences) {
    const ForwardBatch batch{
        .chunks = {{.pages = pages, .first_position = 0, .tokens = sequence, .logits = 1}}};
    Forward(*model, batch, cache, pool, act, &keeper);
  }
  return keeper.rows;
}

// The observer sees in each layer what the whole forward pass shows it, whatever the number of
// threads.
TEST(LayerObserver, AgreesWithTheForwardPass) {
  const ModelSource source = ModelSource::Open(kModel);
  ThreadPool one(1), three(3);
  const CalibrationSet set = TestSet(source, one);
  const std::vector<LayerStatistics> layers = Observe(source, set, one);
  const std::vector<LayerStatistics> threaded = Observe(source, set, three);
  for (const auto& [key, rows] : ForwardRows(set, one)) {
    const auto layer = static_cast<size_t>(key.first), site = static_cast<size_t>(key.second);
    const SiteStatistics& found = layers[layer][site];
    const SiteStatistics& other = threaded[layer][site];
    const int64_t k = found.k();
    ASSERT_EQ(found.rows, set.TokenCount());
    ASSERT_EQ(found.rows * k, std::ssize(rows));
    double squares = 0, absmax = 0;
    for (const float x : rows) {
      squares += double{x} * x;
      absmax = std::max(absmax, std::abs(double{x}));
    }
    EXPECT_EQ(found.Range(), absmax);
    double sum = 0;
    for (const double value : found.sum_squares) sum += value;
    EXPECT_NEAR(sum, squares, 1e-12 * squares);  // the order of sums in double

    // The sampled rows are rows of X, in order and at even distances.
    ASSERT_EQ(found.sample_rows, kSampleRows);
    for (int64_t i = 0; i < kSampleRows; ++i) {
      const int64_t row = (i * found.rows + kSampleRows - 1) / kSampleRows;
      EXPECT_TRUE(std::equal(found.sample.data() + i * k, found.sample.data() + (i + 1) * k,
                             rows.begin() + row * k));
    }
    for (const auto& [i, j] : {std::pair<int64_t, int64_t>{0, 0}, {3, 40}, {40, 3}, {17, 18}}) {
      double expected = 0, magnitude = 0;
      for (int64_t r = 0; r < found.rows; ++r) {
        const double product = double{rows[static_cast<size_t>(r * k + i)]} *
                               double{rows[static_cast<size_t>(r * k + j)]};
        expected += product;
        magnitude += std::abs(product);
      }
      // A float sum of 152 terms.
      EXPECT_NEAR(found.gram[i * k + j], expected, 152 * 0x1p-24 * magnitude);
    }

    EXPECT_EQ(found.absmax, other.absmax);
    EXPECT_EQ(found.sum_squares, other.sum_squares);
    EXPECT_TRUE(std::ranges::equal(found.gram.span(), other.gram.span()));
  }
}

TEST(SiteStatistics, FollowEqualization) {
  SiteStatistics statistics;
  statistics.rows = 2;
  statistics.absmax = {4, 6};
  statistics.sum_squares = {20, 40};
  statistics.sample_rows = 1;
  statistics.sample.Resize(2);
  statistics.gram.Resize(4);
  std::ranges::copy(std::vector<float>{4, -6}, statistics.sample.data());
  std::ranges::copy(std::vector<float>{20, 8, 8, 40}, statistics.gram.data());
  ThreadPool pool(2);
  statistics.DivideChannels(std::vector<float>{2, 4}, pool);
  EXPECT_EQ(statistics.absmax, (std::vector<float>{2, 1.5f}));
  EXPECT_EQ(statistics.sum_squares, (std::vector<double>{5, 2.5}));
  EXPECT_EQ(statistics.MeanSquares(), (std::vector<float>{2.5f, 1.25f}));
  EXPECT_TRUE(std::ranges::equal(statistics.sample.span(), std::vector<float>{2, -1.5f}));
  EXPECT_TRUE(std::ranges::equal(statistics.gram.span(), std::vector<float>{5, 1, 1, 2.5f}));
}

TEST(LayerObserver, NamesTheSiteOfInfiniteActivations) {
  const ModelSource source = ModelSource::Open(kModel);
  ThreadPool pool(1);
  const ObserverOptions options = {.rows = 2, .sample_rows = 0, .gram = false};
  std::vector<float> rows(static_cast<size_t>(source.config().hidden));
  const std::vector<SiteId> sites = SitesOf(source.config(), 1);
  LayerObserver zero(source.config(), sites, options, pool);
  zero.Observe(1, ActSite::kMlpIn, rows, 1);
  EXPECT_EQ(zero.Finish(1)[2].Range(), 0);
  LayerObserver observer(source.config(), sites, options, pool);
  rows[5] = NAN;
  observer.Observe(1, ActSite::kMlpIn, rows, 1);
  EXPECT_ERROR("layer 1, mlp_in", observer.Finish(1));
}

}  // namespace
}  // namespace fptq
