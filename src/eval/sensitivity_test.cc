#include "eval/sensitivity.h"

#include <gtest/gtest.h>

#include "base/test_util.h"
#include "eval/testing.h"
#include "model/weights/float_layer.h"

namespace fptq {
namespace {

class Sensitivity : public ::testing::Test {
 protected:
  std::vector<Estimate> Measure(const Model& quantized, const Model& source, int64_t context,
                                int threads = 2) {
    ThreadPool pool(threads);
    return MeasureSensitivity(quantized, source, GoldenTokens(), {}, context, pool, nullptr);
  }

  ThreadPool pool_{1};
  std::shared_ptr<const Model> quantized_ = LoadModel(TinyPath("tiny-llama-w4a8"), pool_);
  std::shared_ptr<const Model> source_ = LoadModel(TinyPath("tiny-llama-f32"), pool_);
};

TEST_F(Sensitivity, OfEachLayerAndNotOfThreads) {
  const auto found = Measure(*quantized_, *source_, 16);
  ASSERT_EQ(std::ssize(found), source_->config().layers);
  for (const Estimate& layer : found) {
    EXPECT_GT(layer.mean, 0);
    EXPECT_GT(layer.standard_error, 0);
  }
  const auto alone = Measure(*quantized_, *source_, 16, /*threads=*/1);
  for (size_t i = 0; i < found.size(); ++i) EXPECT_EQ(found[i].mean, alone[i].mean);
}

// A layer that is exactly the float one changes nothing.
TEST_F(Sensitivity, IsZeroForAFloatLayer) {
  ThreadPool pool(1);
  Model mixed{.source = ModelSource::Open(TinyPath("tiny-llama-w4a8")),
              .memory = {},
              .layers = {},
              .final_norm = quantized_->final_norm,
              .head = {},
              .tokenizer = Tokenizer(quantized_->source.LoadTokenizer()),
              .special_tokens = {},
              .chat_templates = {},
              .warnings = {}};
  for (int64_t layer = 0; layer < source_->config().layers; ++layer) {
    mixed.layers.push_back(FloatLayerWeights(ReadLayer(source_->source, layer), pool));
  }
  for (const Estimate& layer : Measure(mixed, *source_, 16)) EXPECT_EQ(layer.mean, 0);
}

TEST_F(Sensitivity, RejectsWhatDoesNotBelongTogether) {
  EXPECT_ERROR("two float ones", Measure(*source_, *source_, 16));
  EXPECT_ERROR("two quantized ones", Measure(*quantized_, *quantized_, 16));
  EXPECT_ERROR("windows", Measure(*quantized_, *source_, 0));
}

}  // namespace
}  // namespace fptq
