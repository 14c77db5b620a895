#include "model/key_offsets.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "base/test_paths.h"
#include "base/test_util.h"
#include "kernels/dispatch.h"
#include "model/model.h"
#include "model/positions.h"
#include "model/testing.h"

namespace fptq {
namespace {

const std::filesystem::path kQwen2 = std::filesystem::path(kTestdata) / "models/tiny-qwen2";

TEST(KeyOffsets, AreTheMeanOfTheRotatedBiasOverASection) {
  ModelConfig config;
  config.kv_heads = 2;
  config.head_dim = 16;
  config.rotary = 12;
  config.rope.theta = 1e6;
  config.max_positions = 2 * kKvSection + 1;
  std::vector<float> bias;
  for (int64_t i = 0; i < config.kv_width(); ++i) bias.push_back(static_cast<float>(i % 7) - 3);
  const AlignedBuffer<float> offsets = MakeKeyOffsets(config, /*layer=*/0, bias);
  ASSERT_EQ(offsets.size(), 3 * config.kv_width());

  const std::vector<float> frequencies = RopeFrequencies(config.rope, config.rotary);
  for (int64_t section = 0; section < 3; ++section) {
    std::vector<float> mean(bias);
    for (int64_t i = 0; i < config.rotary / 2; ++i) {
      double cos = 0, sin = 0;
      for (int64_t p = section * kKvSection; p < (section + 1) * kKvSection; ++p) {
        const double angle = static_cast<double>(p) * double{frequencies[static_cast<size_t>(i)]};
        cos += std::cos(angle) / kKvSection;
        sin += std::sin(angle) / kKvSection;
      }
      for (int64_t head = 0; head < config.kv_heads; ++head) {
        const auto low = static_cast<size_t>(head * config.head_dim + i);
        const size_t high = low + static_cast<size_t>(config.rotary / 2);
        mean[low] = static_cast<float>(bias[low] * cos - bias[high] * sin);
        mean[high] = static_cast<float>(bias[high] * cos + bias[low] * sin);
      }
    }
    Kernels().rotate({.x = mean.data(), .rows = config.kv_heads, .n = config.head_dim});
    for (int64_t head = 0; head < config.kv_heads; ++head) {
      const float* found = KeyOffsetsOf(config, offsets, head).At(section);
      for (int64_t d = 0; d < config.head_dim; ++d) {
        // Sums of 16 values below 4, in float32.
        EXPECT_NEAR(found[d], mean[static_cast<size_t>(head * config.head_dim + d)], 1e-5);
      }
    }
  }
  EXPECT_EQ(KeyOffsetsOf(config, offsets, 0).At(3), nullptr);
}

// Logits of a chunk of tokens, then one by one over a cache of this type.
std::vector<float> Logits(const Model& model, KvType type) {
  constexpr int64_t kTokens = 40;
  ThreadPool pool(1);
  const std::vector<int32_t> pages = PageRange(0, PagesFor(kTokens));
  KvCache cache(model.config(), type, std::ssize(pages), model.config().layers);
  Activations act(model.config(), kTokens, 1, /*max_sections=*/0);
  std::vector<int32_t> tokens;
  for (int32_t i = 0; i < kTokens; ++i) tokens.push_back(5 + 7 * i % 200);
  std::vector<float> logits;
  for (int64_t done = 0; done < kTokens;) {
    const int64_t rows = done == 0 ? 20 : 1;
    const auto chunk =
        std::span(tokens).subspan(static_cast<size_t>(done), static_cast<size_t>(rows));
    Forward(model,
            {.chunks = {{.pages = pages, .first_position = done, .tokens = chunk, .logits = 1}}},
            cache, pool, act);
    logits.insert(logits.end(), act.logits.data(), act.logits.data() + model.config().vocab);
    done += rows;
  }
  return logits;
}

// How much an int8 cache changes the logits.
double CacheError(const std::filesystem::path& path) {
  ThreadPool pool(1);
  const auto model = LoadModel(path, pool);
  return RelativeError(Logits(*model, KvType::kI8), Logits(*model, KvType::kF32));
}

// As Qwen2: a bias of the keys of tens of times the keys, in pairs of channels that turn slowly.
TEST(KeyOffsets, LargeBiasesOfTheKeysDoNotCostTheCacheItsBits) {
  const TempFolder folder;
  EditModel(kQwen2, folder / "model", [](EditableModel& model) {
    const int64_t heads = 2, head_dim = 16;
    std::vector<float> bias(heads * head_dim);
    for (size_t head = 0; head < heads; ++head) {
      bias[head * head_dim + head_dim / 2 - 1] = 300;
      bias[head * head_dim + head_dim - 2] = -200;
    }
    for (const char* layer : {"0", "1"}) {
      model.Set(std::string("model.layers.") + layer + ".self_attn.k_proj.bias", DataType::kF32,
                {heads * head_dim}, std::as_bytes(std::span(bias)));
    }
  });
  // At most twice what the cache costs with small biases; 23 times as much without offsets.
  EXPECT_LT(CacheError(folder / "model"), 2 * CacheError(kQwen2));
}

}  // namespace
}  // namespace fptq
