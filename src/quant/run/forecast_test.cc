#include "quant/run/forecast.h"

#include <gtest/gtest.h>

#include "base/test_paths.h"
#include "base/test_util.h"
#include "quant/calibrate/calibration_set.h"
#include "quant/run/quantize.h"

namespace fptq {
namespace {

namespace fs = std::filesystem;
const fs::path kModels = fs::path(kTestdata) / "models";

// A machine that does one of everything in a second.
constexpr MachineSpeed kUnitSpeed = {1, 1, 1, 1, 1, 1, 1};

QuantRecipe Recipe() {
  QuantRecipe recipe;
  recipe.calibration_tokens = 256;
  recipe.sequence_length = 64;
  return recipe;
}

// The input scales of static sites are all that is not known before.
TEST(Forecast, KnowsTheSizeOfTheOutput) {
  const TempFolder folder;
  ThreadPool pool(2);
  for (const char* name :
       {"tiny-llama-f32", "tiny-llama-f16", "tiny-llama-bf16", "tiny-llama-gguf/model.gguf"}) {
    for (const PolicyMode policy : {PolicyMode::kAuto, PolicyMode::kStatic, PolicyMode::kDynamic}) {
      for (const double bits : {4.0, 5.3, 8.0}) {  // of uniform formats, and of mixed ones
        QuantRecipe recipe = Recipe();
        recipe.policy = policy;
        if (bits == 5.3) {
          recipe.bits = bits;
          recipe.embedding_bits = 8;
        } else {
          recipe.weight_bits = static_cast<int64_t>(bits);
          recipe.symmetric = policy == PolicyMode::kAuto;
        }
        const ModelSource source = OpenFloatSource(kModels / name, recipe);
        const Forecast forecast = ForecastQuantization(source, recipe, 2, kUnitSpeed);
        const int64_t written = QuantizeCheckpoint(kModels / name, folder / "out", recipe,
                                                   {.replace = true, .restart = false}, pool, {})
                                    .output_bytes;
        const int64_t input_scales = source.config().layers * std::ssize(source.arch().linears) *
                                     BlockSizeOf(source.config().dtype).bytes;
        const int64_t unknown = forecast.output_bytes - written;
        EXPECT_GE(unknown, 0) << name;
        EXPECT_LE(unknown, input_scales) << name;
        if (policy == PolicyMode::kStatic) {
          EXPECT_EQ(unknown, 0) << name;
        }
        EXPECT_GE(forecast.disk_bytes, forecast.output_bytes);
      }
    }
  }
}

// Sums by hand for a layer of LLaMA-2-7B's shape, whose X^T X are as large as its weights.
TEST(Forecast, KeepsMemoryWithinTwoAndAHalfLayers) {
  ModelSource source = OpenFloatSource(kModels / "tiny-llama-f16", Recipe());
  ModelConfig& config = const_cast<ModelConfig&>(source.config());
  config.layers = 32;
  config.hidden = 4096;
  config.heads = config.kv_heads = 32;
  config.head_dim = 128;
  config.mlp = 11008;
  config.vocab = 32000;
  config.max_positions = 4096;
  const int64_t layer = 4 * (4 * 4096 * 4096 + 3 * 4096 * 11008);
  QuantRecipe recipe;
  const Forecast self = ForecastQuantization(source, recipe, 2, kUnitSpeed);
  EXPECT_EQ(self.text_steps, 512);
  EXPECT_EQ(self.text_bytes, int64_t{32} * layer / 4 + 32000 * 4096);
  recipe.calibration = "random";
  const Forecast random = ForecastQuantization(source, recipe, 2, kUnitSpeed);
  EXPECT_EQ(random.text_bytes, 0);
  EXPECT_LT(random.seconds, self.seconds);
  for (const Forecast& forecast : {self, random}) {
    EXPECT_GT(forecast.memory_bytes, layer);
    EXPECT_LE(forecast.memory_bytes, layer * 5 / 2 + 1'000'000'000);
  }
  // What memory holds of a token: its number.
  recipe.calibration_tokens = ChosenTokens(recipe, config);
  const int64_t more = 9 * recipe.calibration_tokens;
  recipe.calibration_tokens += more;
  EXPECT_LE(ForecastQuantization(source, recipe, 2, kUnitSpeed).memory_bytes,
            random.memory_bytes + 64 * more);
}

// No product of the numbers of a recipe and of a config overflows.
TEST(Forecast, IsFiniteForTheLargestRecipe) {
  ModelSource source = OpenFloatSource(kModels / "tiny-llama-f16", Recipe());
  const_cast<ModelConfig&>(source.config()).max_positions = int64_t{1} << 31;
  QuantRecipe recipe;
  recipe.calibration_tokens = 100'000'000;
  recipe.sequence_length = 1'000'000;
  for (const char* calibration : {"self", "random"}) {
    recipe.calibration = calibration;
    const Forecast forecast = ForecastQuantization(source, recipe, 2, kUnitSpeed);
    // Attention alone: two operations for each token, half of its sequence, and element of a head.
    EXPECT_GT(forecast.seconds, 1e14);
    EXPECT_GT(forecast.memory_bytes, recipe.sequence_length * source.config().hidden * 4);
    EXPECT_LT(forecast.memory_bytes, int64_t{1} << 50);
    EXPECT_GT(forecast.disk_bytes, recipe.calibration_tokens * source.config().hidden * 4);
  }
}

TEST(Forecast, IsRefusedWhereTheMachineIsTooSmall) {
  const Forecast forecast = {.seconds = 1,
                             .memory_bytes = 2'000'000'000,
                             .text_bytes = 7'000'000'000,
                             .text_steps = 512,
                             .output_bytes = 4'000'000'000,
                             .disk_bytes = 9'000'000'000};
  CheckLimits(forecast, {.memory_bytes = 9'000'000'000, .disk_bytes = 9'000'000'000}, "out");
  EXPECT_ERROR("out: expected 9.0 GB of free disk, found 8.9 GB",
               CheckLimits(forecast, {9'000'000'000, 8'900'000'000}, "out"));
  EXPECT_ERROR("out: expected 2.0 GB of free memory, found 1.9 GB",
               CheckLimits(forecast, {1'900'000'000, 9'000'000'000}, "out"));
  EXPECT_ERROR("--calibration random",
               CheckLimits(forecast, {8'900'000'000, 9'000'000'000}, "out"));
}

TEST(Forecast, KnowsThisMachine) {
  const TempFolder folder;
  const MachineLimits before = LimitsFor(folder / "out");
  EXPECT_GT(before.memory_bytes, 0);
  EXPECT_GT(before.disk_bytes, 0);
  // What an interrupted run has written already, it need not write again.
  fs::create_directory(folder / "out.partial");
  folder.Write("out.partial/tensors", std::string(100, 'x'));
  fs::resize_file(folder / "out.partial/tensors", int64_t{1} << 40);  // sparse: takes no disk
  EXPECT_GE(LimitsFor(folder / "out").disk_bytes, int64_t{1} << 40);
  ThreadPool pool(2);
  const MachineSpeed speed = MeasureSpeed(pool);
  for (const double rate : {speed.float_ops, speed.gptq_ops, speed.group_weights, speed.int8_bytes,
                            speed.read_weights, speed.sampled, speed.checked_bytes}) {
    EXPECT_GT(rate, 1e5);
  }
}

}  // namespace
}  // namespace fptq
