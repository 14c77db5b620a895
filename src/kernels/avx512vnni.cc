// AVX-512 with VNNI: a tile of 16 output channels is one vector; vpdpbusd multiplies 64 unsigned
// weights with the broadcast 4 activations of a row.

// GCC 12 takes the undefined operands inside its own AVX-512 intrinsics for uninitialized
// variables.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"

#include <immintrin.h>

#include "kernels/kernels.h"

namespace fptq {
namespace {

constexpr int64_t kQueryTile = 16;
#include "kernels/lanes_avx512.inc"

// --- GEMM --------------------------------------------------------------------------------------

// Rows that share each loaded weight: with two tiles 12 integer and 12 float sums, and the weights
// and a broadcast beside them.
constexpr int kMaxRows = 6;
// Activations of the rows that go through all tiles together: they stay in half of the L2 cache.
constexpr int64_t kRowBytes = 512 << 10;
constexpr int64_t kPrefetchBytes = 4096;

// Products with a sum of activations, -2^24 < sum < 2^24, in one instruction on pairs of 16 bits:
// x * sum = x * (sum % 512) + 512 x * floor(sum / 512), for x of 0..16.
inline Ints SumPair(int32_t sum) {
  return BroadcastInts((sum & 511) | static_cast<int32_t>(static_cast<uint32_t>(sum >> 9) << 16));
}
// What 4-bit weights are above q - zero point, of the 16 channels of a tile.
inline Ints OffsetPairs(const int8_t* zero_points) {
  const __m128i zeros = _mm_loadu_si128(reinterpret_cast<const __m128i*>(zero_points));
  const Ints offsets = _mm512_add_epi32(_mm512_cvtepi8_epi32(zeros), BroadcastInts(8));
  return _mm512_or_si512(offsets, _mm512_slli_epi32(offsets, 25));
}

// kRows rows x kTiles tiles. A vector of 4-bit weights gives two of bytes, low and high nibbles.
template <int kBits, int kRows, int kTiles>
struct QuantizedBlock {
  static constexpr int kParts = 8 / kBits;
  // Independent sums per output: enough to hide the latency of vpdpbusd.
  static constexpr int kChains = kRows * kTiles >= 4 ? 1 : (kRows * kTiles >= 2 ? 2 : 4);
  static constexpr int kUnroll = kChains > kParts ? kChains / kParts : 1;

  Ints acc[kChains][kRows][kTiles];

  static void Run(const QuantizedGemmArgs& args, int64_t row, int64_t tile) {
    const int64_t groups = args.k / args.group_size;
    const int64_t tile_bytes = kTileChannels * args.k / kParts;
    const int64_t group_bytes = kTileChannels * args.group_size / kParts;
    const uint8_t* weights = args.weights + tile * tile_bytes;
    const float* scales = args.weight_scales + tile * groups * kTileChannels;
    const int8_t* activations = args.activations + row * args.k;
    const int32_t* sums = args.group_sums + row * groups;
    const float* row_scales = args.activation_scales + row * groups;
    Lanes out[kRows][kTiles];
#pragma GCC unroll 6
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
      for (int t = 0; t < kTiles; ++t) {
        out[r][t] = Broadcast(0.0f);
        // Finish writes there, and reads if it accumulates; of many rows it is in no cache near by.
        _mm_prefetch(args.out + (row + r) * args.out_stride + (tile + t) * kTileChannels,
                     _MM_HINT_T0);
      }
    }
    for (int64_t g = 0; g < groups; ++g) {
      QuantizedBlock block;
      if (kBits == 4 && args.zero_points != nullptr) {
        const int64_t at = (tile * groups + g) * kTileChannels;
        block.StartLessZeros(sums + g, groups, args.zero_points + at, groups * kTileChannels);
      } else {
        block.Start(sums + g, groups);
      }
      for (int64_t v = 0; v < group_bytes; v += kUnroll * 64) {
#pragma GCC unroll 4
        for (int u = 0; u < kUnroll; ++u) {
          block.Step(weights + v + u * 64, tile_bytes,
                     activations + v / 16 * kParts + 4 * kParts * u, args.k, u * kParts);
        }
      }
      weights += group_bytes;
      activations += args.group_size;
      block.AddGroup(scales + g * kTileChannels, groups * kTileChannels, row_scales + g, groups,
                     out);
    }
    for (int r = 0; r < kRows; ++r) {
      for (int t = 0; t < kTiles; ++t) Finish(args, row + r, tile + t, out[r][t]);
    }
  }

  inline void Start(const int32_t* sums, int64_t stride) {
#pragma GCC unroll 6
    for (int r = 0; r < kRows; ++r) {
      const Ints offset = BroadcastInts(-(1 << (kBits - 1)) * sums[r * stride]);
#pragma GCC unroll 4
      for (int t = 0; t < kTiles; ++t) {
        acc[0][r][t] = offset;
#pragma GCC unroll 4
        for (int c = 1; c < kChains; ++c) acc[c][r][t] = BroadcastInts(0);
      }
    }
  }

  // The same for zero points; those of the next tile lie `tile_stride` further on.
  inline void StartLessZeros(const int32_t* sums, int64_t stride, const int8_t* zero_points,
                             int64_t tile_stride) {
#pragma GCC unroll 4
    for (int t = 0; t < kTiles; ++t) {
      const Ints offsets = OffsetPairs(zero_points + t * tile_stride);
#pragma GCC unroll 6
      for (int r = 0; r < kRows; ++r) {
        acc[0][r][t] = _mm512_dpwssd_epi32(BroadcastInts(0), offsets, SumPair(-sums[r * stride]));
#pragma GCC unroll 4
        for (int c = 1; c < kChains; ++c) acc[c][r][t] = BroadcastInts(0);
      }
    }
  }

  // One vector of weights of each tile; the first goes to chain `chain`.
  inline void Step(const uint8_t* weights, int64_t tile_bytes, const int8_t* activations, int64_t k,
                   int chain) {
    Bytes w[kParts][kTiles];
#pragma GCC unroll 4
    for (int t = 0; t < kTiles; ++t) {
      const Bytes packed = LoadBytes(weights + t * tile_bytes);
      // Few rows ask for what is a little further on; more rows take their time, and the first of
      // them ask for the next tiles.
      const int64_t ahead = kRows < 4 ? kPrefetchBytes : kTiles * tile_bytes;
      _mm_prefetch(weights + t * tile_bytes + ahead, _MM_HINT_T1);
      if (kBits == 8) {
        w[0][t] = packed;
      } else {
        const Bytes mask = _mm512_set1_epi8(0x0f);
        w[0][t] = _mm512_and_si512(packed, mask);
        w[kParts - 1][t] = _mm512_and_si512(_mm512_srli_epi16(packed, 4), mask);
      }
    }
#pragma GCC unroll 2
    for (int p = 0; p < kParts; ++p) {
#pragma GCC unroll 6
      for (int r = 0; r < kRows; ++r) {
        const Bytes a = BroadcastBytes(activations + r * k + 4 * p);
#pragma GCC unroll 4
        for (int t = 0; t < kTiles; ++t) {
          Ints& sum = acc[(chain + p) % kChains][r][t];
          sum = Dot(sum, w[p][t], a);
        }
      }
    }
  }

  inline void AddGroup(const float* scales, int64_t stride, const float* row_scales,
                       int64_t row_stride, Lanes (*out)[kTiles]) {
#pragma GCC unroll 4
    for (int t = 0; t < kTiles; ++t) {
      const Lanes scale = Load(scales + t * stride);
#pragma GCC unroll 6
      for (int r = 0; r < kRows; ++r) {
        Ints sum = acc[0][r][t];
#pragma GCC unroll 4
        for (int c = 1; c < kChains; ++c) sum = _mm512_add_epi32(sum, acc[c][r][t]);
        const Lanes of_row = Broadcast(row_scales[r * row_stride]);
        out[r][t] = Fma(Mul(ToLanes(sum), of_row), scale, out[r][t]);
      }
    }
  }
};

// kRows rows x kTiles tiles; a float sum has one chain, so few rows need many tiles.
template <int kRows, int kTiles>
struct FloatBlock {
  static void Run(const FloatGemmArgs& args, int64_t row, int64_t tile) {
    const int64_t stride = args.k * kTileChannels;
    const float* weights = args.weights + tile * stride;
    const float* activations = args.activations + row * args.k;
    Lanes acc[kRows][kTiles];
    for (int r = 0; r < kRows; ++r) {
      for (int t = 0; t < kTiles; ++t) acc[r][t] = Broadcast(0.0f);
    }
    for (int64_t k = 0; k < args.k; ++k) {
      Lanes w[kTiles];
#pragma GCC unroll 4
      for (int t = 0; t < kTiles; ++t) {
        w[t] = Load(weights + t * stride + k * kTileChannels);
        if (kRows < 4) {
          _mm_prefetch(weights + t * stride + k * kTileChannels + kPrefetchBytes / 4, _MM_HINT_T0);
        }
      }
#pragma GCC unroll 6
      for (int r = 0; r < kRows; ++r) {
        const Lanes a = Broadcast(activations[r * args.k + k]);
#pragma GCC unroll 4
        for (int t = 0; t < kTiles; ++t) acc[r][t] = Fma(a, w[t], acc[r][t]);
      }
    }
    for (int r = 0; r < kRows; ++r) {
      for (int t = 0; t < kTiles; ++t) Finish(args, row + r, tile + t, acc[r][t]);
    }
  }
};

template <typename Args>
using BlockFunction = void (*)(const Args&, int64_t row, int64_t tile);

// Entry [r] computes r rows.
template <int kBits, int kTiles>
constexpr BlockFunction<QuantizedGemmArgs> kQuantizedBlocks[kMaxRows + 1] = {
    nullptr,
    QuantizedBlock<kBits, 1, kTiles>::Run,
    QuantizedBlock<kBits, 2, kTiles>::Run,
    QuantizedBlock<kBits, 3, kTiles>::Run,
    QuantizedBlock<kBits, 4, kTiles>::Run,
    QuantizedBlock<kBits, 5, kTiles>::Run,
    QuantizedBlock<kBits, 6, kTiles>::Run,
};
template <int kTiles>
constexpr BlockFunction<FloatGemmArgs> kFloatBlocks[kMaxRows + 1] = {
    nullptr,
    FloatBlock<1, kTiles>::Run,
    FloatBlock<2, kTiles>::Run,
    FloatBlock<3, kTiles>::Run,
    FloatBlock<4, kTiles>::Run,
    FloatBlock<5, kTiles>::Run,
    FloatBlock<6, kTiles>::Run,
};

// Rows [row, row + rows) in blocks of nearly equal size, so that none is too small to hide
// latencies.
template <typename Args>
inline void RunRows(const Args& args, int64_t row, int64_t rows, int64_t tile,
                    const BlockFunction<Args>* blocks) {
  const int64_t count = (rows + kMaxRows - 1) / kMaxRows;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t begin = rows * i / count, end = rows * (i + 1) / count;
    blocks[end - begin](args, row + begin, tile);
  }
}

template <typename Args>
inline void Gemm(const Args& args, int64_t row_bytes, int64_t tiles,
                 const BlockFunction<Args>* wide, const BlockFunction<Args>* narrow) {
  int64_t chunk = kRowBytes / row_bytes / kMaxRows * kMaxRows;
  if (chunk < 4 * kMaxRows) chunk = 4 * kMaxRows;
  for (int64_t row = 0; row < args.rows; row += chunk) {
    const int64_t rows = args.rows - row < chunk ? args.rows - row : chunk;
    int64_t tile = args.tile_begin;
    for (; tile + tiles <= args.tile_end; tile += tiles) RunRows(args, row, rows, tile, wide);
    for (; tile < args.tile_end; ++tile) RunRows(args, row, rows, tile, narrow);
  }
}

template <int kBits>
void QuantizedGemm(const QuantizedGemmArgs& args) {
  const BlockFunction<QuantizedGemmArgs>* narrow = kQuantizedBlocks<kBits, 1>;
  const bool few = args.rows < 4;  // one stream of weights is best for memory
  Gemm(args, args.k, few ? 1 : 2, few ? narrow : kQuantizedBlocks<kBits, 2>, narrow);
}

void FloatGemm(const FloatGemmArgs& args) {
  const int64_t row_bytes = args.k * static_cast<int64_t>(sizeof(float));
  Gemm(args, row_bytes, 2, kFloatBlocks<2>, kFloatBlocks<1>);
}

// The chains start apart, lest the compiler make one of them.
int64_t Int8Peak(int64_t steps) {
  constexpr int kChains = 12;
  const Bytes ones = _mm512_set1_epi8(1);
  Ints acc[kChains];
  for (int c = 0; c < kChains; ++c) acc[c] = BroadcastInts(c);
  for (int64_t i = 0; i < steps; ++i) {
#pragma GCC unroll 12
    for (int c = 0; c < kChains; ++c) acc[c] = Dot(acc[c], ones, ones);
  }
  int64_t sum = 0;
  for (int c = 0; c < kChains; ++c) {
    int32_t lanes[kLanes];
    _mm512_storeu_si512(lanes, acc[c]);
    for (const int32_t lane : lanes) sum += lane - c;
  }
  return sum;
}

}  // namespace

constinit const KernelTable kAvx512VnniKernels = WithRowsAndAttention({
    .name = "avx512vnni",
    .cpu_features = kCpuAvx2 | kCpuAvx512Vnni,
    .gemm_w4 = QuantizedGemm<4>,
    .gemm_w8 = QuantizedGemm<8>,
    .gemm_f32 = FloatGemm,
    .int8_peak = Int8Peak,
});

}  // namespace fptq
