#include "quant/decide/weight_formats.h"

#include <gtest/gtest.h>

#include <string>

#include "base/test_paths.h"
#include "base/test_util.h"
#include "model/source.h"

namespace fptq {
namespace {

ModelConfig ConfigOf(const std::string& name) {
  return ModelSource::Open(std::filesystem::path(kTestdata) / "models" / name).config();
}

// A model of many layers of Qwen2.5-0.5B's shape, or, with 14 KV heads, one whose heads each have
// keys of their own.
ModelConfig Llama(int64_t kv_heads) {
  ModelConfig config = ConfigOf("tiny-llama-f16");
  config.layers = 24;
  config.hidden = 896;
  config.heads = 14;
  config.kv_heads = kv_heads;
  config.head_dim = 64;
  config.mlp = 4864;
  return config;
}

QuantRecipe Bits(double bits) {
  QuantRecipe recipe;
  recipe.bits = bits;
  return recipe;
}

TEST(WeightFormats, AreUniformWithoutABudget) {
  const ModelConfig config = Llama(/*kv_heads=*/2);
  QuantRecipe recipe;
  recipe.group_size = 64;
  const WeightFormats formats(recipe, config);
  for (const LayerLinear& linear : LinearsOf(config, 5)) {
    EXPECT_EQ(formats.at(5, *linear.spec).bits, 4);
    EXPECT_EQ(formats.at(5, *linear.spec).group_size, 64);
  }
  EXPECT_EQ(formats.BitsPerWeight(), 4.25);
  recipe.symmetric = false;
  EXPECT_EQ(WeightFormats(recipe, config).BitsPerWeight(), 4.3125);
  recipe.weight_bits = 8;
  EXPECT_EQ(WeightFormats(recipe, config).at(0, config.arch->linears[0]).bits, 8);
}

TEST(WeightFormats, SpendTheirBudgetAndNoMore) {
  for (const std::string name : {"tiny-llama-f16", "tiny-qwen3-moe", "tiny-qwen2-moe",
                                 "tiny-falcon", "tiny-bloom", "tiny-gpt2"}) {
    const ModelConfig config = ConfigOf(name);
    for (const double bits : {4.8, 5.0, 6.0, 7.5, 10.0}) {
      EXPECT_LE(WeightFormats(Bits(bits), config).BitsPerWeight(), bits) << name;
    }
  }
  // Of a model with many linears nothing is left.
  const ModelConfig config = Llama(2);
  for (const double bits : {4.13, 4.2, 4.25, 4.5}) {
    EXPECT_NEAR(WeightFormats(Bits(bits), config).BitsPerWeight(), bits, 0.01);
  }
}

TEST(WeightFormats, GiveEightBitsToKeysThatManyQueriesShare) {
  for (const double bits : {4.25, 4.5}) {
    const ModelConfig shared = Llama(/*kv_heads=*/2);
    const WeightFormats formats(Bits(bits), shared);
    const std::span<const LinearSpec> linears = shared.arch->linears;  // q, k, v, o, gate, up, down
    for (int64_t layer = 0; layer < shared.layers; ++layer) {
      EXPECT_EQ(formats.at(layer, linears[0]).bits, 4);
      EXPECT_EQ(formats.at(layer, linears[1]).bits, 8);
      EXPECT_EQ(formats.at(layer, linears[2]).bits, 8);
      for (size_t i = 3; i < linears.size(); ++i) EXPECT_EQ(formats.at(layer, linears[i]).bits, 4);
      EXPECT_EQ(formats.groups(layer, ActSite::kAttnIn).size,
                formats.at(layer, linears[2]).group_size);
    }
    // Where each query has its own they are as large as the others, and 8 bits for them too dear.
    const ModelConfig alone = Llama(/*kv_heads=*/14);
    EXPECT_EQ(WeightFormats(Bits(bits), alone).at(0, linears[1]).bits, 4);
  }
}

// The cheaper of two budgets is nowhere the finer one.
TEST(WeightFormats, FollowTheBudget) {
  const ModelConfig config = Llama(2);
  const WeightFormats less(Bits(4.2), config), more(Bits(4.4), config);
  for (int64_t layer = 0; layer < config.layers; ++layer) {
    for (const LinearSpec& linear : config.arch->linears) {
      EXPECT_LE(less.at(layer, linear).bits, more.at(layer, linear).bits);
      EXPECT_GE(less.at(layer, linear).group_size, more.at(layer, linear).group_size);
    }
  }
}

TEST(WeightFormats, RefuseABudgetThatNoFormatKeeps) {
  const std::string error = ErrorOf([] { WeightFormats(Bits(4.05), Llama(2)); });
  EXPECT_NE(error.find("'bits': expected at least 4.125 for this model, found 4.05"),
            std::string::npos)
      << error;
}

}  // namespace
}  // namespace fptq
