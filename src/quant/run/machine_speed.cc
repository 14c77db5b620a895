#include "quant/run/machine_speed.h"

#include <algorithm>
#include <chrono>
#include <numeric>
#include <utility>
#include <vector>

#include "base/half.h"
#include "base/tensor.h"
#include "engine/sampler.h"
#include "files/checksum.h"
#include "io/checkpoint.h"
#include "model/model.h"
#include "model/weights/float_layer.h"
#include "quant/round/gptq.h"

namespace fptq {
namespace {

// The least of some tries, as others may use the machine now and then; of fewer where it is slow.
template <typename F>
double Seconds(int tries, F f) {
  constexpr double kEnough = 0.2;
  double least = 0, all = 0;
  for (int i = 0; i < tries && all < kEnough; ++i) {
    const auto start = std::chrono::steady_clock::now();
    f();
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    if (i == 0 || seconds.count() < least) least = seconds.count();
    all += seconds.count();
  }
  return least;
}

SourceLinear SomeLinear(int64_t channels, int64_t k) {
  SourceLinear linear{.name = "measured", .channels = channels, .k = k, .weight = {}, .bias = {}};
  linear.weight.Resize(channels * k);
  for (int64_t i = 0; i < linear.weight.size(); ++i) {
    linear.weight[i] = static_cast<float>(i * 7919 % 1009 - 504) * 1e-4f;
  }
  return linear;
}

double MeasureFloatOps(ThreadPool& pool) {
  constexpr int64_t kRows = 512, kK = 4096, kChannels = 1024;
  const SourceLinear source = SomeLinear(kChannels, kK);
  const Linear linear = FloatLinear({&source, 1}, pool);
  LinearInput input(kRows, kK);
  for (int64_t r = 0; r < kRows; ++r) input.Set(linear, r, source.weight.data() + r * kK);
  AlignedBuffer<float> out(kRows * kChannels);
  const double seconds =
      Seconds(3, [&] { Apply(linear, input, kRows, pool, out.data(), /*accumulate=*/false); });
  return 2.0 * kRows * kK * kChannels / seconds;
}

// Of a linear that keeps all threads busy, and whose X^T X does not fit the inner caches.
double MeasureGptqOps(ThreadPool& pool) {
  constexpr int64_t kK = 1536, kGroup = 128;
  const int64_t channels = 128 * pool.threads();
  const SourceLinear linear = SomeLinear(channels, kK);
  AlignedBuffer<float> gram(kK * kK);
  for (int64_t j = 0; j < kK; ++j) gram[j * kK + j] = 1;
  const OutputError error = OutputError::Make(std::move(gram), kK, kGroup, pool).value();
  const double seconds = Seconds(2, [&] {
    RoundGptq(linear, error, kGptqSweeps, {.size = kGroup, .dtype = DataType::kF16}, pool);
  });
  return 2 * GptqGemmPasses(kGptqSweeps) * static_cast<double>(channels * kK * kK) / seconds;
}

double MeasureGroupWeights(ThreadPool& pool) {
  const SourceLinear linear = SomeLinear(512, 1024);
  const std::vector<float> ones(1024, 1.0f);
  constexpr GroupFormat kFormat = {.size = 128, .dtype = DataType::kF16};
  const double seconds = Seconds(3, [&] { QuantizeGroups(linear, ones, kFormat, pool); });
  return static_cast<double>(linear.weight.size()) / seconds;
}

// As many rows as SampleSelfText has by default for large models, and weights that no cache holds.
double MeasureInt8Bytes(ThreadPool& pool) {
  constexpr int64_t kRows = MachineSpeed::kInt8Rows, kK = 4096, kChannels = 16384;
  Linear linear;
  linear.weights = MakeQuantizedMatrix(/*bits=*/8, kChannels, kK, /*group_size=*/kK);
  LinearInput input(kRows, kK);
  const std::vector<float> row(kK, 1.0f);
  for (int64_t r = 0; r < kRows; ++r) input.Set(linear, r, row.data());
  AlignedBuffer<float> out(kRows * kChannels);
  const double seconds =
      Seconds(3, [&] { Apply(linear, input, kRows, pool, out.data(), /*accumulate=*/false); });
  return static_cast<double>(linear.Bytes()) / seconds;
}

double MeasureReadWeights() {
  const std::vector<uint16_t> stored(1 << 20, F32ToF16(0.1f));
  const TensorView tensor{.type = DataType::kF16,
                          .shape = {std::ssize(stored)},
                          .bytes = std::as_bytes(std::span(stored))};
  std::vector<float> values(stored.size());
  const double seconds = Seconds(3, [&] {
    DequantizeRange(tensor, 0, values);
    CheckFinite(values, "measured");
  });
  return static_cast<double>(stored.size()) / seconds;
}

double MeasureSampled(ThreadPool& pool) {
  struct Thread {
    std::vector<float> logits;
    Sampler sampler;
    Sampler::Scratch scratch;
  };
  constexpr size_t kVocab = 1 << 15;
  std::vector<float> logits(kVocab);
  for (size_t i = 0; i < kVocab; ++i) logits[i] = static_cast<float>(i % 1000) * 1e-3f;
  std::vector<int32_t> ids(kVocab);
  std::iota(ids.begin(), ids.end(), 0);
  const Sampler sampler({.temperature = 1, .top_k = 0, .top_p = 1}, ids);
  std::vector<Thread> threads(static_cast<size_t>(pool.threads()), {logits, sampler, {}});
  const double seconds = Seconds(3, [&] {
    pool.ParallelEach(pool.threads(), [&](int64_t i) {
      Thread& thread = threads[static_cast<size_t>(i)];
      thread.sampler.Sample(thread.logits, {}, thread.scratch);
    });
  });
  return static_cast<double>(kVocab) * pool.threads() / seconds;
}

double MeasureCheckedBytes(ThreadPool& pool) {
  const std::vector<std::byte> bytes(size_t{1} << 20);
  const double seconds =
      Seconds(3, [&] { pool.ParallelEach(pool.threads(), [&](int64_t) { Checksum(bytes); }); });
  return static_cast<double>(bytes.size()) * pool.threads() / seconds;
}

}  // namespace

MachineSpeed MeasureSpeed(ThreadPool& pool) {
  return {.float_ops = MeasureFloatOps(pool),
          .gptq_ops = MeasureGptqOps(pool),
          .group_weights = MeasureGroupWeights(pool),
          .int8_bytes = MeasureInt8Bytes(pool),
          .read_weights = MeasureReadWeights(),
          .sampled = MeasureSampled(pool),
          .checked_bytes = MeasureCheckedBytes(pool)};
}

}  // namespace fptq
