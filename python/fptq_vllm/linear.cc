// The W4A8 and W8A8 linears behind a C interface, for Python's ctypes. Work is done on OpenMP's
// threads: a process that has torch has one such pool, and vLLM binds it to cores.
#include <omp.h>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>
#include <vector>

#include "base/tensor.h"
#include "kernels/dispatch.h"
#include "kernels/weights.h"

namespace fptq {
namespace {

// Rows that are worked on together: their integers and results stay in the cache while the weights
// pass by.
constexpr int64_t kRowsTogether = 256;
// Kernels take two tiles at a time where they can.
constexpr int64_t kTilesTogether = 2;
// Parts of the channels for each thread, which takes one after the other.
constexpr int64_t kShares = 8;

float FromBf16(uint16_t x) { return std::bit_cast<float>(static_cast<uint32_t>(x) << 16); }

// Rounded half to even; NaN stays NaN.
uint16_t ToBf16(float x) {
  const auto bits = std::bit_cast<uint32_t>(x);
  if (x != x) return static_cast<uint16_t>(bits >> 16 | 0x40);
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

// What a call works in; one thread of the process calls at a time, mostly, and its memory is kept.
struct Scratch {
  AlignedBuffer<int8_t> q;      // [rows, k]
  AlignedBuffer<float> scales;  // [rows, k / group_size]
  AlignedBuffer<int32_t> sums;  // [rows, k / group_size]
  AlignedBuffer<float> out;     // [rows, channels], of a call whose result is bfloat16
};

int64_t TilesOf(int64_t channels) { return (channels + kTileChannels - 1) / kTileChannels; }

template <typename T>
T* AtLeast(AlignedBuffer<T>& buffer, int64_t size) {
  if (buffer.size() < size) buffer = AlignedBuffer<T>(size);
  return buffer.data();
}

}  // namespace
}  // namespace fptq

extern "C" {

// A linear, and what enters and leaves it. Strides are dense.
struct FptqLinear {
  int64_t bits, channels, k, group_size;  // as QuantizedMatrix
  const uint8_t* tiles;
  const float* scales;
  const int8_t* zero_points;  // or null: they are 0
  int64_t full_range;
  const float* bias;   // [channels] or null
  float static_scale;  // of the activations; 0: a scale per row and group
  int64_t rows;
  int64_t bf16;   // `x` and `out` are bfloat16, else float
  const void* x;  // [rows, k]
  void* out;      // [rows, channels]
};

// Bytes of the tiles of a linear of so many channels.
__attribute__((visibility("default"))) int64_t fptq_tile_bytes(int64_t bits, int64_t channels,
                                                               int64_t k) {
  return fptq::TilesOf(channels) * fptq::kTileChannels * k * bits / 8;
}

// Lays weights out for the kernels. `packed`: [channels, k * bits / 32], as compressed-tensors
// packs them: q + 2^(bits - 1), the first in the lowest bits. `scales`: [channels, k / group_size].
// `packed_zero_points`, of 4 bits or null: [channels / 8, rounded up, k / group_size], z + 8 of 8
// channels in a word, the first in the lowest bits. Returns whether a q is the least of its bits.
__attribute__((visibility("default"))) int64_t fptq_tile_weights(
    int64_t bits, int64_t channels, int64_t k, int64_t group_size, const uint32_t* packed,
    const float* scales, const uint32_t* packed_zero_points, uint8_t* tiles, float* tile_scales,
    int8_t* tile_zero_points) {
  using namespace fptq;
  QuantizedMatrix matrix =
      MakeQuantizedMatrix(static_cast<int>(bits), channels, k, group_size, /*arena=*/nullptr,
                          /*symmetric=*/packed_zero_points == nullptr);
  const int64_t a_word = 32 / bits, groups = k / group_size;
  std::vector<int8_t> q(static_cast<size_t>(k));
  std::vector<int16_t> zeros(static_cast<size_t>(packed_zero_points == nullptr ? 0 : groups));
  for (int64_t channel = 0; channel < channels; ++channel) {
    for (int64_t i = 0; i < k; ++i) {
      const uint32_t word = packed[(channel * k + i) / a_word];
      const auto value = static_cast<int32_t>(word >> (i % a_word * bits) & ((1u << bits) - 1));
      q[static_cast<size_t>(i)] = static_cast<int8_t>(value - (1 << (bits - 1)));
    }
    for (size_t g = 0; g < zeros.size(); ++g) {
      const uint32_t word = packed_zero_points[channel / 8 * groups + static_cast<int64_t>(g)];
      zeros[g] = static_cast<int16_t>(static_cast<int>(word >> (channel % 8 * 4) & 15) - 8);
    }
    PackRow(matrix, channel, q, {scales + channel * groups, static_cast<size_t>(groups)}, zeros);
  }
  std::memcpy(tiles, matrix.tiles.data(), static_cast<size_t>(matrix.tiles.size()));
  std::memcpy(tile_scales, matrix.scales.data(),
              static_cast<size_t>(matrix.scales.size()) * sizeof(float));
  if (packed_zero_points != nullptr) {
    std::memcpy(tile_zero_points, matrix.zero_points.data(),
                static_cast<size_t>(matrix.zero_points.size()));
  }
  return matrix.full_range;
}

__attribute__((visibility("default"))) void fptq_linear(const FptqLinear* linear) {
  using namespace fptq;
  const FptqLinear& l = *linear;
  const KernelTable& kernels = Kernels();
  const auto gemm = l.bits == 4 ? kernels.gemm_w4 : kernels.gemm_w8;
  const int64_t groups = l.k / l.group_size, most = std::min(l.rows, kRowsTogether);
  thread_local Scratch scratch;
  int8_t* q = AtLeast(scratch.q, most * l.k);
  float* scales = AtLeast(scratch.scales, most * groups);
  int32_t* sums = AtLeast(scratch.sums, most * groups);
  float* results = l.bf16 ? AtLeast(scratch.out, most * l.channels) : nullptr;
  const int64_t tiles = TilesOf(l.channels);
  // Neighbouring tiles, as weights for few rows come from memory.
  const int64_t most_shares = kShares * omp_get_max_threads();
  const int64_t share =
      std::max(int64_t{1}, tiles / (most_shares * kTilesTogether)) * kTilesTogether;
#pragma omp parallel
  for (int64_t first = 0; first < l.rows; first += kRowsTogether) {
    const int64_t rows = std::min(kRowsTogether, l.rows - first);
    float* out = l.bf16 ? results : static_cast<float*>(l.out) + first * l.channels;
#pragma omp for schedule(static)
    for (int64_t row = 0; row < rows; ++row) {
      thread_local std::vector<float> floats;
      const float* x = static_cast<const float*>(l.x) + (first + row) * l.k;
      if (l.bf16) {
        floats.resize(static_cast<size_t>(l.k));
        const uint16_t* from = static_cast<const uint16_t*>(l.x) + (first + row) * l.k;
        std::transform(from, from + l.k, floats.begin(), FromBf16);
        x = floats.data();
      }
      kernels.quantize_row({.x = x,
                            .n = l.k,
                            .group_size = l.group_size,
                            .static_scale = l.static_scale,
                            .one_scale = false,
                            .q = q + row * l.k,
                            .scales = scales + row * groups,
                            .group_sums = sums + row * groups});
    }
#pragma omp for schedule(dynamic)
    for (int64_t tile = 0; tile < tiles; tile += share) {
      const int64_t tile_end = std::min(tiles, tile + share);
      gemm({.activations = q,
            .activation_scales = scales,
            .group_sums = sums,
            .rows = rows,
            .k = l.k,
            .group_size = l.group_size,
            .weights = l.tiles,
            .weight_scales = l.scales,
            .zero_points = l.zero_points,
            .full_range = l.full_range != 0,
            .bias = l.bias,
            .channels = l.channels,
            .tile_begin = tile,
            .tile_end = tile_end,
            .out = out,
            .out_stride = l.channels,
            .accumulate = false});
      if (!l.bf16) continue;
      auto* to = static_cast<uint16_t*>(l.out) + first * l.channels;
      const int64_t from = tile * kTileChannels;
      const int64_t end = std::min(l.channels, tile_end * kTileChannels);
      for (int64_t at = 0; at < rows * l.channels; at += l.channels) {
        std::transform(out + at + from, out + at + end, to + at + from, ToBf16);
      }
    }
  }
}

}  // extern "C"
