// AVX2 with FMA: 16 lanes are two vectors of 8.
#include <immintrin.h>

#include "kernels/kernels.h"

namespace fptq {
namespace {

struct Lanes {
  __m256 lo, hi;
};
struct Ints {
  __m256i lo, hi;
};
using Bytes = Ints;

inline __m256i FirstMask(int64_t n) {
  const __m256i index = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int32_t>(n)), index);
}

inline Lanes Load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
inline Lanes LoadFirst(const float* p, int64_t n) {
  return {_mm256_maskload_ps(p, FirstMask(n)), _mm256_maskload_ps(p + 8, FirstMask(n - 8))};
}
inline void Store(float* p, Lanes x) {
  _mm256_storeu_ps(p, x.lo);
  _mm256_storeu_ps(p + 8, x.hi);
}
inline void StoreFirst(float* p, Lanes x, int64_t n) {
  _mm256_maskstore_ps(p, FirstMask(n), x.lo);
  _mm256_maskstore_ps(p + 8, FirstMask(n - 8), x.hi);
}
inline Lanes Broadcast(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
inline Lanes Add(Lanes a, Lanes b) {
  return {_mm256_add_ps(a.lo, b.lo), _mm256_add_ps(a.hi, b.hi)};
}
inline Lanes Sub(Lanes a, Lanes b) {
  return {_mm256_sub_ps(a.lo, b.lo), _mm256_sub_ps(a.hi, b.hi)};
}
inline Lanes Mul(Lanes a, Lanes b) {
  return {_mm256_mul_ps(a.lo, b.lo), _mm256_mul_ps(a.hi, b.hi)};
}
inline Lanes Div(Lanes a, Lanes b) {
  return {_mm256_div_ps(a.lo, b.lo), _mm256_div_ps(a.hi, b.hi)};
}
inline Lanes Max(Lanes a, Lanes b) {
  return {_mm256_max_ps(a.lo, b.lo), _mm256_max_ps(a.hi, b.hi)};
}
inline Lanes Min(Lanes a, Lanes b) {
  return {_mm256_min_ps(a.lo, b.lo), _mm256_min_ps(a.hi, b.hi)};
}
inline Lanes Fma(Lanes a, Lanes b, Lanes c) {
  return {_mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi)};
}
inline Lanes Abs(Lanes a) {
  const __m256 sign = _mm256_set1_ps(-0.0f);
  return {_mm256_andnot_ps(sign, a.lo), _mm256_andnot_ps(sign, a.hi)};
}
inline Lanes SelectGreater(Lanes a, Lanes b, Lanes x, Lanes y) {
  return {_mm256_blendv_ps(y.lo, x.lo, _mm256_cmp_ps(a.lo, b.lo, _CMP_GT_OQ)),
          _mm256_blendv_ps(y.hi, x.hi, _mm256_cmp_ps(a.hi, b.hi, _CMP_GT_OQ))};
}
inline Lanes ShiftLeft23(Lanes a) {
  return {_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_castps_si256(a.lo), 23)),
          _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_castps_si256(a.hi), 23))};
}
inline float First(Lanes a) { return _mm256_cvtss_f32(a.lo); }
template <int kDistance>
inline __m256 ExchangeHalf(__m256 a) {
  if (kDistance == 4) return _mm256_permute2f128_ps(a, a, 1);
  return _mm256_permute_ps(a, kDistance == 2 ? 0b01'00'11'10 : 0b10'11'00'01);
}
template <int kDistance>
inline Lanes Exchange(Lanes a) {
  if (kDistance == 8) return {a.hi, a.lo};
  return {ExchangeHalf<kDistance>(a.lo), ExchangeHalf<kDistance>(a.hi)};
}
template <int kDistance>
inline Lanes SelectBit(Lanes a, Lanes b) {
  if (kDistance == 8) return {a.lo, b.hi};
  constexpr int kMask = kDistance == 4 ? 0b1111'0000 : kDistance == 2 ? 0b1100'1100 : 0b1010'1010;
  return {_mm256_blend_ps(a.lo, b.lo, kMask), _mm256_blend_ps(a.hi, b.hi, kMask)};
}
// The 16 values as 16-bit integers, in order.
inline __m256i ToInt16(Lanes x) {
  const __m256i packed = _mm256_packs_epi32(_mm256_cvtps_epi32(x.lo), _mm256_cvtps_epi32(x.hi));
  return _mm256_permute4x64_epi64(packed, 0b11'01'10'00);
}
inline void StoreI8(int8_t* p, Lanes x) {
  const __m256i v = ToInt16(x);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p),
                   _mm_packs_epi16(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1)));
}
inline void StoreU8(uint8_t* p, const Lanes (&x)[4]) {
  const auto pack = [](Lanes a) {
    return _mm256_packs_epi32(_mm256_cvtps_epi32(a.lo), _mm256_cvtps_epi32(a.hi));
  };
  // Packing goes by halves of a vector: each has every other four bytes.
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  for (int i = 0; i < 4; i += 2) {
    const __m256i bytes = _mm256_packus_epi16(pack(x[i]), pack(x[i + 1]));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p + 16 * i),
                        _mm256_permutevar8x32_epi32(bytes, order));
  }
}

inline Bytes LoadBytes(const void* p) {
  const __m256i* v = static_cast<const __m256i*>(p);
  return {_mm256_loadu_si256(v), _mm256_loadu_si256(v + 1)};
}
inline __m256i BroadcastDword(const void* p) {
  int32_t bytes;
  __builtin_memcpy(&bytes, p, sizeof(bytes));
  return _mm256_set1_epi32(bytes);
}
inline Bytes BroadcastBytes(const void* p) { return {BroadcastDword(p), BroadcastDword(p)}; }
inline Ints BroadcastInts(int32_t x) { return {_mm256_set1_epi32(x), _mm256_set1_epi32(x)}; }
// Exact for all bytes, where maddubs would saturate: even and odd bytes as 16-bit integers.
inline __m256i Dot(__m256i acc, __m256i u, __m256i s) {
  const __m256i u_even = _mm256_and_si256(u, _mm256_set1_epi16(0xff));
  const __m256i u_odd = _mm256_srli_epi16(u, 8);
  const __m256i s_even = _mm256_srai_epi16(_mm256_slli_epi16(s, 8), 8);
  const __m256i s_odd = _mm256_srai_epi16(s, 8);
  acc = _mm256_add_epi32(acc, _mm256_madd_epi16(u_even, s_even));
  return _mm256_add_epi32(acc, _mm256_madd_epi16(u_odd, s_odd));
}
inline Ints Dot(Ints acc, Bytes u, Bytes s) {
  return {Dot(acc.lo, u.lo, s.lo), Dot(acc.hi, u.hi, s.hi)};
}
template <int kFirst, int kCount>
inline Ints BitsOf(Bytes words) {
  const __m256i mask = _mm256_set1_epi32((1 << kCount) - 1);
  return {_mm256_and_si256(_mm256_srli_epi32(words.lo, kFirst), mask),
          _mm256_and_si256(_mm256_srli_epi32(words.hi, kFirst), mask)};
}
inline Lanes ToLanes(Ints a) { return {_mm256_cvtepi32_ps(a.lo), _mm256_cvtepi32_ps(a.hi)}; }

constexpr int kDotVectors = 2;
constexpr int64_t kQueryTile = 16;
#include "kernels/attention.inc"

// --- GEMM --------------------------------------------------------------------------------------

constexpr int kMaxRows = 4;
// Activations of the rows that go through all tiles together: they stay in the L2 cache.
constexpr int64_t kRowBytes = 128 << 10;
constexpr int64_t kPrefetchBytes = 2048;

// Sums stay in registers: compilers would reorder them so that all products are computed first, and
// wait in memory.
inline void InOrder(__m256i& sum) { asm("" : "+x"(sum)); }

// A vector of a tile's weights for 8 of its 16 channels, the first or the second ones.
inline __m256i LoadHalf(const uint8_t* weights, int half) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(weights) + half);
}

// This and the next two add the products of 32 k of a tile and kRows rows to acc, both halves of
// each row. Eight products of pairs fit int16 (15 * 128 * 2 * 8 = 30,720).
template <int kRows>
inline void DotW4(const uint8_t* weights, const int8_t* activations, int64_t k,
                  __m256i (&acc)[kRows][2]) {
  const __m256i mask = _mm256_set1_epi8(0x0f), ones = _mm256_set1_epi16(1);
  __m256i sums[kRows][2];
#pragma GCC unroll 4
  for (int v = 0; v < 4; ++v) {
    __m256i low[2], high[2];
#pragma GCC unroll 2
    for (int h = 0; h < 2; ++h) {
      const __m256i packed = LoadHalf(weights + v * 64, h);
      low[h] = _mm256_and_si256(packed, mask);
      high[h] = _mm256_and_si256(_mm256_srli_epi16(packed, 4), mask);
    }
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) {
      const int8_t* a = activations + r * k + v * 8;
      const __m256i first = BroadcastDword(a), second = BroadcastDword(a + 4);
#pragma GCC unroll 2
      for (int h = 0; h < 2; ++h) {
        const __m256i products = _mm256_maddubs_epi16(low[h], first);
        sums[r][h] = v == 0 ? products : _mm256_add_epi16(sums[r][h], products);
        InOrder(sums[r][h]);
        sums[r][h] = _mm256_add_epi16(sums[r][h], _mm256_maddubs_epi16(high[h], second));
        InOrder(sums[r][h]);
      }
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 2
    for (int h = 0; h < 2; ++h) {
      acc[r][h] = _mm256_add_epi32(acc[r][h], _mm256_madd_epi16(sums[r][h], ones));
    }
  }
}

// The product |a| * (w with the sign of a) cannot saturate: w >= -127, so that 128 * 127 * 2 =
// 32,512 is the largest pair.
template <int kRows>
inline void DotW8(const uint8_t* weights, const int8_t* activations, int64_t k,
                  __m256i (&acc)[kRows][2]) {
  const __m256i offset = _mm256_set1_epi8(-128), ones = _mm256_set1_epi16(1);
#pragma GCC unroll 8
  for (int v = 0; v < 8; ++v) {
    const __m256i w[2] = {_mm256_xor_si256(LoadHalf(weights + v * 64, 0), offset),
                          _mm256_xor_si256(LoadHalf(weights + v * 64, 1), offset)};
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) {
      const __m256i a = BroadcastDword(activations + r * k + v * 4), abs = _mm256_abs_epi8(a);
#pragma GCC unroll 2
      for (int h = 0; h < 2; ++h) {
        const __m256i products = _mm256_maddubs_epi16(abs, _mm256_sign_epi8(w[h], a));
        acc[r][h] = _mm256_add_epi32(acc[r][h], _mm256_madd_epi16(products, ones));
        InOrder(acc[r][h]);
      }
    }
  }
}

// For weights that may be -128: with their offset, which the caller undoes.
template <int kRows>
inline void DotW8FullRange(const uint8_t* weights, const int8_t* activations, int64_t k,
                           __m256i (&acc)[kRows][2]) {
  for (int v = 0; v < 8; ++v) {
    const __m256i w[2] = {LoadHalf(weights + v * 64, 0), LoadHalf(weights + v * 64, 1)};
    for (int r = 0; r < kRows; ++r) {
      const __m256i a = BroadcastDword(activations + r * k + v * 4);
      for (int h = 0; h < 2; ++h) acc[r][h] = Dot(acc[r][h], w[h], a);
    }
  }
}

// Products with a sum of activations, -2^24 < sum < 2^24, in one instruction on pairs of 16 bits:
// x * sum = x * (sum % 512) + 512 x * floor(sum / 512), for x of 0..16.
inline __m256i SumPair(int32_t sum) {
  return _mm256_set1_epi32((sum & 511) |
                           static_cast<int32_t>(static_cast<uint32_t>(sum >> 9) << 16));
}
// What 4-bit weights are above q - zero point, of 8 channels.
inline __m256i OffsetPairs(const int8_t* zero_points) {
  const __m128i zeros = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(zero_points));
  const __m256i offsets = _mm256_add_epi32(_mm256_cvtepi8_epi32(zeros), _mm256_set1_epi32(8));
  return _mm256_or_si256(offsets, _mm256_slli_epi32(offsets, 25));
}

// kRows rows x one tile.
template <int kBits, int kRows>
struct QuantizedBlock {
  static void Run(const QuantizedGemmArgs& args, int64_t row, int64_t tile) {
    const int64_t groups = args.k / args.group_size;
    const uint8_t* weights = args.weights + tile * kTileChannels * args.k * kBits / 8;
    const float* scales = args.weight_scales + tile * groups * kTileChannels;
    const int8_t* activations = args.activations + row * args.k;
    Lanes out[kRows];
    for (int r = 0; r < kRows; ++r) out[r] = Broadcast(0.0f);
    for (int64_t g = 0; g < groups; ++g) {
      __m256i acc[kRows][2];
      const bool has_zeros = kBits == 4 && args.zero_points != nullptr;
      __m256i offsets[2] = {};
      if (has_zeros) {
        const int8_t* zeros = args.zero_points + (tile * groups + g) * kTileChannels;
        for (int h = 0; h < 2; ++h) offsets[h] = OffsetPairs(zeros + 8 * h);
      }
      for (int r = 0; r < kRows; ++r) {
        const int32_t group_sum = args.group_sums[(row + r) * groups + g];
        // 8-bit weights lose their offset before they are multiplied, if they can.
        const int offset = kBits == 4 ? 8 : args.full_range ? 128 : 0;
        for (int h = 0; h < 2; ++h) {
          acc[r][h] = has_zeros ? _mm256_madd_epi16(offsets[h], SumPair(-group_sum))
                                : _mm256_set1_epi32(-offset * group_sum);
        }
      }
      for (int64_t k = 0; k < args.group_size; k += 32) {
        for (int line = 0; line < kBits; ++line) {
          _mm_prefetch(weights + kPrefetchBytes + line * 64, _MM_HINT_T0);
        }
        if (kBits == 4) {
          DotW4<kRows>(weights, activations, args.k, acc);
        } else if (args.full_range) {
          DotW8FullRange<kRows>(weights, activations, args.k, acc);
        } else {
          DotW8<kRows>(weights, activations, args.k, acc);
        }
        weights += 32 * kTileChannels * kBits / 8;
        activations += 32;
      }
      const Lanes scale = Load(scales + g * kTileChannels);
      for (int r = 0; r < kRows; ++r) {
        const Lanes of_row = Broadcast(args.activation_scales[(row + r) * groups + g]);
        out[r] = Fma(Mul(ToLanes({acc[r][0], acc[r][1]}), of_row), scale, out[r]);
      }
    }
    for (int r = 0; r < kRows; ++r) Finish(args, row + r, tile, out[r]);
  }
};

// Entry [r] computes r rows.
template <int kBits>
constexpr void (*kQuantizedBlocks[kMaxRows + 1])(const QuantizedGemmArgs&, int64_t row,
                                                 int64_t tile) = {
    nullptr, QuantizedBlock<kBits, 1>::Run, QuantizedBlock<kBits, 2>::Run,
    QuantizedBlock<kBits, 3>::Run, QuantizedBlock<kBits, 4>::Run};

template <int kBits>
void QuantizedGemm(const QuantizedGemmArgs& args) {
  const auto* blocks = kQuantizedBlocks<kBits>;
  int64_t chunk = kRowBytes / args.k / kMaxRows * kMaxRows;
  if (chunk < 4 * kMaxRows) chunk = 4 * kMaxRows;
  for (int64_t begin = 0; begin < args.rows; begin += chunk) {
    const int64_t end = args.rows - begin < chunk ? args.rows : begin + chunk;
    for (int64_t tile = args.tile_begin; tile < args.tile_end; ++tile) {
      int64_t row = begin;
      for (; row + kMaxRows <= end; row += kMaxRows) blocks[kMaxRows](args, row, tile);
      if (row < end) blocks[end - row](args, row, tile);
    }
  }
}

// Float weights go through the L1 cache: rows of a chunk take kFloatInputs of a tile's inputs, then
// the next ones, while their sums wait in memory. Those of a block fill the registers.
constexpr int kFloatRows = 6;
constexpr int64_t kFloatInputs = 256;
constexpr int64_t kFloatChunk = 16 * kFloatRows;

// Inputs [begin, end) of kRows rows x one tile; `sums` are those of the inputs before.
template <int kRows>
void FloatBlock(const FloatGemmArgs& args, int64_t row, int64_t tile, int64_t begin, int64_t end,
                Lanes* sums) {
  const float* weights = args.weights + tile * args.k * kTileChannels;
  const float* activations = args.activations + row * args.k;
  Lanes acc[kRows];
  for (int r = 0; r < kRows; ++r) acc[r] = begin == 0 ? Broadcast(0.0f) : sums[r];
  for (int64_t k = begin; k < end; ++k) {
    const Lanes w = Load(weights + k * kTileChannels);
#pragma GCC unroll 6
    for (int r = 0; r < kRows; ++r) acc[r] = Fma(Broadcast(activations[r * args.k + k]), w, acc[r]);
  }
  for (int r = 0; r < kRows; ++r) {
    if (end < args.k) {
      sums[r] = acc[r];
    } else {
      Finish(args, row + r, tile, acc[r]);
    }
  }
}

// Entry [r] computes r rows.
constexpr void (*kFloatBlocks[kFloatRows + 1])(const FloatGemmArgs&, int64_t row, int64_t tile,
                                               int64_t begin, int64_t end, Lanes* sums) = {
    nullptr,       FloatBlock<1>, FloatBlock<2>, FloatBlock<3>,
    FloatBlock<4>, FloatBlock<5>, FloatBlock<6>};

void FloatGemm(const FloatGemmArgs& args) {
  Lanes sums[kFloatChunk];
  for (int64_t first = 0; first < args.rows; first += kFloatChunk) {
    const int64_t rows = args.rows - first < kFloatChunk ? args.rows - first : kFloatChunk;
    // Blocks of nearly equal size, so that none is too small to hide latencies.
    const int64_t blocks = (rows + kFloatRows - 1) / kFloatRows;
    for (int64_t tile = args.tile_begin; tile < args.tile_end; ++tile) {
      for (int64_t k = 0; k == 0 || k < args.k; k += kFloatInputs) {
        const int64_t end = args.k - k < kFloatInputs ? args.k : k + kFloatInputs;
        for (int64_t i = 0; i < blocks; ++i) {
          const int64_t row = rows * i / blocks;
          kFloatBlocks[rows * (i + 1) / blocks - row](args, first + row, tile, k, end, sums + row);
        }
      }
    }
  }
}

// Sums in 16 bits, as the GEMM does. The chains start apart, lest the compiler make one of them.
int64_t Int8Peak(int64_t steps) {
  constexpr int kChains = 6;
  constexpr int64_t kMaxSteps = 16000;  // a step adds 2 to each 16-bit sum
  __m256i ones = _mm256_set1_epi8(1);
  int64_t sum = 0;
  while (steps > 0) {
    const int64_t count = steps < kMaxSteps ? steps : kMaxSteps;
    __m256i acc[kChains];
    for (int c = 0; c < kChains; ++c) acc[c] = _mm256_set1_epi16(static_cast<int16_t>(c));
    for (int64_t i = 0; i < count; ++i) {
#pragma GCC unroll 6
      for (int c = 0; c < kChains; ++c) {
        asm volatile("" : "+x"(ones));  // nor compute the products once
        acc[c] = _mm256_add_epi16(acc[c], _mm256_maddubs_epi16(ones, ones));
      }
    }
    for (int c = 0; c < kChains; ++c) {
      int16_t lanes[16];
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(lanes), acc[c]);
      for (const int16_t lane : lanes) sum += lane - c;
    }
    steps -= count;
  }
  return sum;
}

}  // namespace

constinit const KernelTable kAvx2Kernels = WithRowsAndAttention({
    .name = "avx2",
    .cpu_features = kCpuAvx2,
    .gemm_w4 = QuantizedGemm<4>,
    .gemm_w8 = QuantizedGemm<8>,
    .gemm_f32 = FloatGemm,
    .int8_peak = Int8Peak,
});

}  // namespace fptq
