// Speed of each table this CPU can run, on the shapes of real models; single thread.
//   kernels_bench --benchmark_filter=avx512vnni/gemm_w4
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "kernels/dispatch.h"
#include "kernels/weights.h"

namespace fptq {
namespace {

size_t Size(int64_t n) { return static_cast<size_t>(n); }

void CountWork(benchmark::State& state, double operations, double bytes) {
  const double iterations = static_cast<double>(state.iterations());
  state.counters["op/s"] = benchmark::Counter(operations * iterations, benchmark::Counter::kIsRate);
  state.counters["B/s"] = benchmark::Counter(bytes * iterations, benchmark::Counter::kIsRate);
}

std::vector<float> Normal(int64_t n) {
  std::mt19937 rng(1);
  std::normal_distribution<float> distribution;
  std::vector<float> out(Size(n));
  for (float& x : out) x = distribution(rng);
  return out;
}

template <typename T>
std::vector<T> Uniform(int64_t n, int low, int high) {
  std::mt19937 rng(1);
  std::uniform_int_distribution<int> distribution(low, high);
  std::vector<T> out(Size(n));
  for (T& x : out) x = static_cast<T>(distribution(rng));
  return out;
}

void QuantizedGemm(benchmark::State& state, const KernelTable& table, int bits, bool symmetric,
                   int64_t rows, int64_t k, int64_t channels, int64_t group) {
  QuantizedMatrix matrix =
      MakeQuantizedMatrix(bits, channels, k, group, /*arena=*/nullptr, symmetric);
  for (uint8_t& x : matrix.tiles.span()) x = static_cast<uint8_t>((&x - matrix.tiles.data()) * 37);
  for (float& x : matrix.scales.span()) x = 0.01f;
  AlignedBuffer<int8_t> activations(rows * k);
  std::ranges::copy(Uniform<int8_t>(rows * k, -128, 127), activations.data());
  const std::vector<int32_t> sums(Size(rows * (k / group)));
  const std::vector<float> scales(sums.size(), 0.1f);
  std::vector<float> out(Size(rows * channels));
  const QuantizedGemmArgs args = {.activations = activations.data(),
                                  .activation_scales = scales.data(),
                                  .group_sums = sums.data(),
                                  .rows = rows,
                                  .k = k,
                                  .group_size = group,
                                  .weights = matrix.tiles.data(),
                                  .weight_scales = matrix.scales.data(),
                                  .zero_points = symmetric ? nullptr : matrix.zero_points.data(),
                                  .full_range = false,
                                  .bias = nullptr,
                                  .channels = channels,
                                  .tile_begin = 0,
                                  .tile_end = matrix.channel_tiles(),
                                  .out = out.data(),
                                  .out_stride = channels,
                                  .accumulate = false};
  const auto gemm = bits == 4 ? table.gemm_w4 : table.gemm_w8;
  for (auto _ : state) {
    gemm(args);
    benchmark::ClobberMemory();
  }
  CountWork(state, 2.0 * static_cast<double>(rows * k * channels),
            static_cast<double>(matrix.Bytes()));
}

void FloatGemm(benchmark::State& state, const KernelTable& table, int64_t rows, int64_t k,
               int64_t channels) {
  FloatMatrix matrix = MakeFloatMatrix(channels, k);
  for (float& x : matrix.tiles.span()) x = 0.01f;
  const std::vector<float> activations = Normal(rows * k);
  std::vector<float> out(Size(rows * channels));
  const FloatGemmArgs args = {.activations = activations.data(),
                              .rows = rows,
                              .k = k,
                              .weights = matrix.tiles.data(),
                              .bias = nullptr,
                              .channels = channels,
                              .tile_begin = 0,
                              .tile_end = matrix.channel_tiles(),
                              .out = out.data(),
                              .out_stride = channels,
                              .accumulate = false};
  for (auto _ : state) {
    table.gemm_f32(args);
    benchmark::ClobberMemory();
  }
  CountWork(state, 2.0 * static_cast<double>(rows * k * channels),
            static_cast<double>(matrix.tiles.size()) * 4);
}

// `rows` queries of each of `heads` heads at the end of a cache of `depth` positions.
void AttentionI8(benchmark::State& state, const KernelTable& table, int64_t rows, int64_t heads,
                 int64_t head_dim, int64_t depth) {
  AlignedBuffer<uint8_t> keys(depth * head_dim);
  AlignedBuffer<int8_t> values(depth * head_dim);
  AlignedBuffer<float> key_scales(depth), value_scales(depth);
  std::vector<int32_t> pages(Size(depth / kKvBlock));
  std::iota(pages.begin(), pages.end(), 0);
  const KvI8 kv{keys.data(), values.data(), key_scales.data(), value_scales.data(), pages.data()};
  const std::vector<float> source = Normal(depth * head_dim);
  for (int64_t p = 0; p < depth; ++p) {
    const float* x = source.data() + p * head_dim;
    table.append_kv_i8({.kv = kv, .position = p, .head_dim = head_dim, .key = x, .value = x});
  }
  std::vector<float> out(Size(rows * heads * head_dim));
  const std::vector<float> query = Normal(rows * heads * head_dim);
  const AttentionArgs<KvI8> args = {.kv = kv,
                                    .first_position = depth - rows,
                                    .rows = rows,
                                    .heads = heads,
                                    .head_dim = head_dim,
                                    .softmax_scale = 0.125f,
                                    .query = query.data(),
                                    .query_stride = heads * head_dim,
                                    .out = out.data(),
                                    .out_stride = heads * head_dim};
  for (auto _ : state) {
    table.attention_i8(args);
    benchmark::ClobberMemory();
  }
  CountWork(state, 4.0 * static_cast<double>(rows * heads * head_dim * depth),
            static_cast<double>(depth * (2 * head_dim + 8)));
}

void Rows(benchmark::State& state, const KernelTable& table, int64_t n) {
  const std::vector<float> x = Normal(n);
  std::vector<float> out(Size(n));
  std::vector<int8_t> q(Size(n));
  std::vector<int32_t> sums(Size(n / 64));
  std::vector<float> scales(sums.size());
  for (auto _ : state) {
    table.rms_norm({x.data(), x.data(), n, 1e-5f, out.data()});
    table.silu({x.data(), out.data(), n, out.data()});
    table.quantize_row({out.data(), n, 64, 0, false, q.data(), scales.data(), sums.data()});
    benchmark::ClobberMemory();
  }
  CountWork(state, static_cast<double>(n), 0);
}

// What sampling does with the logits of a vocabulary.
void Softmax(benchmark::State& state, const KernelTable& table, int64_t n) {
  const std::vector<float> x = Normal(n);
  std::vector<float> out(Size(n)), sums(Size((n + kSumBlock - 1) / kSumBlock));
  for (auto _ : state) {
    const float largest = table.largest({x.data(), n});
    table.exponentials({x.data(), n, largest, 1, out.data(), sums.data()});
    benchmark::ClobberMemory();
  }
  CountWork(state, static_cast<double>(n), 0);
}

template <typename Function, typename... Args>
void Register(const KernelTable& table, const std::string& name, Function function, Args... args) {
  std::string full = fmt::format("{}/{}", table.name, name);
  ((full += fmt::format("/{}", args)), ...);
  benchmark::RegisterBenchmark(full.c_str(), [&table, function, args...](benchmark::State& state) {
    function(state, table, args...);
  });
}

const bool kRegistered = [] {
  for (const KernelTable& table : SupportedKernels()) {
    if (table.cpu_features == 0) continue;  // the oracle is not made for speed
    for (int rows : {1, 4, 8, 16, 32, 512}) {
      Register(table, "gemm_quantized", QuantizedGemm, 4, true, rows, 576, 1536, 64);
      Register(table, "gemm_quantized", QuantizedGemm, 4, true, rows, 1536, 576, 128);
      Register(table, "gemm_quantized", QuantizedGemm, 4, true, rows, 2048, 5632, 128);
    }
    Register(table, "gemm_quantized", QuantizedGemm, 4, true, 512, 5632, 2048, 128);
    Register(table, "gemm_asymmetric", QuantizedGemm, 4, false, 512, 5632, 2048, 128);
    Register(table, "gemm_asymmetric", QuantizedGemm, 4, false, 1, 8192, 32768, 128);
    Register(table, "gemm_quantized", QuantizedGemm, 4, true, 1, 8192, 32768, 128);
    Register(table, "gemm_quantized", QuantizedGemm, 8, true, 1, 576, 49152, 576);
    Register(table, "gemm_quantized", QuantizedGemm, 8, true, 512, 2048, 5632, 2048);
    Register(table, "gemm_f32", FloatGemm, 1, 2048, 16384);
    Register(table, "gemm_f32", FloatGemm, 512, 576, 1536);
    Register(table, "gemm_f32", FloatGemm, 512, 4864, 896);
    for (int rows : {1, 128}) {
      Register(table, "attention_i8", AttentionI8, rows, 3, 64, 4096);
      Register(table, "attention_i8", AttentionI8, rows, 8, 128, 4096);
    }
    Register(table, "norm_silu_quantize", Rows, 1536);
    Register(table, "softmax", Softmax, 49152);
  }
  return true;
}();

}  // namespace
}  // namespace fptq
