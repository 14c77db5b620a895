#include "engine/benchmark.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "base/error.h"
#include "base/test_paths.h"

namespace fptq {
namespace {

std::shared_ptr<const Model> Tiny(ThreadPool& pool, std::string_view name = "tiny-llama-w4a8") {
  return LoadModel(std::filesystem::path(kTestdata) / "models" / name, pool);
}

double Multiplications(const Model& model, bool head) {
  double count = 0;
  for (const LayerWeights& layer : model.layers) {
    layer.ForEachLinear([&](const Linear& linear) {
      count += static_cast<double>(linear.channels() * linear.k());
    });
  }
  return head ? count + static_cast<double>(model.head.channels() * model.head.k()) : count;
}

TEST(Benchmark, NamesAreThoseOfLlamaBench) {
  EXPECT_EQ((BenchmarkCase{BenchmarkPhase::kPrefill, 512, 0, 1}).Name(), "pp512");
  EXPECT_EQ((BenchmarkCase{BenchmarkPhase::kDecode, 64, 4096, 1}).Name(), "tg64 @ d4096");
  EXPECT_EQ((BenchmarkCase{BenchmarkPhase::kDecode, 128, 16, 8}).Name(), "tg128 x8 @ d16");
}

TEST(Benchmark, PeaksArePositive) {
  ThreadPool pool(2);
  const MachinePeaks peaks = MeasurePeaks(pool);
  EXPECT_GT(peaks.int8_ops, 1e6);
  EXPECT_GT(peaks.read_bytes, 1e6);
}

TEST(Benchmark, CountsThePrefill) {
  ThreadPool pool(2);
  const auto model = Tiny(pool);
  const ModelConfig& config = model->config();
  const BenchmarkResult result =
      RunBenchmark(*model, {.phase = BenchmarkPhase::kPrefill, .tokens = 20, .depth = 10}, 3, pool);
  EXPECT_EQ(result.steps, 1);
  EXPECT_GT(result.mean, 0);
  EXPECT_GT(result.standard_deviation, 0);
  const double head = Multiplications(*model, true) - Multiplications(*model, false);
  const double pairs = 20 * 10 + 20 * 21 / 2;
  EXPECT_EQ(result.operations,
            2 * (20 * Multiplications(*model, false) + head) +
                4 * pairs * static_cast<double>(config.layers * config.query_width()));
  // The scales of INT8 keys and values are a float each.
  const int64_t dim = (config.head_dim + 15) / 16 * 16;
  const int64_t position = config.layers * config.kv_heads * 2 * (dim + 4);
  EXPECT_EQ(result.bytes, static_cast<double>(model->WeightBytes() + 30 * position));
  EXPECT_EQ(result.kv_bytes, 64 * position);
}

TEST(Benchmark, CountsSequencesThatDecodeTogether) {
  ThreadPool pool(2);
  for (const char* name : {"tiny-llama-w4a8", "tiny-llama-f32"}) {
    const auto model = Tiny(pool, name);
    const BenchmarkResult one =
        RunBenchmark(*model, {.phase = BenchmarkPhase::kDecode, .tokens = 4, .depth = 3}, 1, pool);
    const BenchmarkResult three = RunBenchmark(
        *model, {.phase = BenchmarkPhase::kDecode, .tokens = 4, .depth = 3, .sequences = 3}, 1,
        pool);
    EXPECT_EQ(one.steps, 4);
    EXPECT_EQ(three.steps, 4);
    EXPECT_EQ(three.operations, 3 * one.operations);
    EXPECT_EQ(three.kv_bytes, 3 * one.kv_bytes);
    // The weights are read once for all.
    const double weights = 4 * static_cast<double>(model->WeightBytes());
    EXPECT_EQ(three.bytes - weights, 3 * (one.bytes - weights));
    EXPECT_NEAR(three.mean, 12 / three.seconds, 1e-6 * three.mean);  // one repetition
  }
}

TEST(Benchmark, TheProfileIsWithinTheTime) {
  ThreadPool pool(2);
  const auto model = Tiny(pool);
  BenchmarkProfile profile;
  const BenchmarkResult result =
      RunBenchmark(*model, {.phase = BenchmarkPhase::kDecode, .tokens = 16}, 2, pool, &profile);
  EXPECT_EQ(profile.steps, 32);
  double sum = 0;
  for (size_t part = 0; part < profile.parts.seconds.size(); ++part) {
    const double seconds = profile.parts.seconds[part];
    const bool is_router = part == static_cast<size_t>(ForwardPart::kRouter);
    EXPECT_EQ(seconds > 0, !is_router) << kForwardPartNames[part];  // a dense model has none
    sum += seconds;
  }
  EXPECT_LT(sum, 2 * result.seconds);
  EXPECT_GT(profile.sampling_seconds, 0);
  EXPECT_LT(profile.waiting_seconds, sum + profile.sampling_seconds);
}

TEST(Benchmark, LongerThanTheModelIsAnError) {
  ThreadPool pool(1);
  const auto model = Tiny(pool);
  const int64_t positions = model->config().max_positions;
  EXPECT_THROW(RunBenchmark(*model, {.tokens = positions, .depth = 1}, 1, pool), Error);
}

}  // namespace
}  // namespace fptq
