// Armv8.2 NEON with the dot product extension: 16 lanes are four vectors of 4; sdot multiplies 16
// signed weights with 4 activations of a row, taken from a lane of its vector.
#include <arm_neon.h>

#include "kernels/kernels.h"

namespace fptq {
namespace {

struct Lanes {
  float32x4_t v[4];
};
struct Ints {
  int32x4_t v[4];
};
struct Bytes {
  uint8x16_t v[4];
};

// The four vectors f(0), ... f(3).
template <typename Vectors, typename F>
inline Vectors Each(F f) {
  return {{f(0), f(1), f(2), f(3)}};
}

inline Lanes Load(const float* p) {
  return Each<Lanes>([=](int i) { return vld1q_f32(p + 4 * i); });
}
inline Lanes LoadFirst(const float* p, int64_t n) {
  float padded[16] = {};
  for (int64_t i = 0; i < n; ++i) padded[i] = p[i];
  return Load(padded);
}
inline void Store(float* p, Lanes x) {
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) vst1q_f32(p + 4 * i, x.v[i]);
}
inline void StoreFirst(float* p, Lanes x, int64_t n) {
  float padded[16];
  Store(padded, x);
  for (int64_t i = 0; i < n; ++i) p[i] = padded[i];
}
inline Lanes Broadcast(float x) {
  return Each<Lanes>([=](int) { return vdupq_n_f32(x); });
}
inline Lanes Add(Lanes a, Lanes b) {
  return Each<Lanes>([&](int i) { return vaddq_f32(a.v[i], b.v[i]); });
}
inline Lanes Sub(Lanes a, Lanes b) {
  return Each<Lanes>([&](int i) { return vsubq_f32(a.v[i], b.v[i]); });
}
inline Lanes Mul(Lanes a, Lanes b) {
  return Each<Lanes>([&](int i) { return vmulq_f32(a.v[i], b.v[i]); });
}
inline Lanes Div(Lanes a, Lanes b) {
  return Each<Lanes>([&](int i) { return vdivq_f32(a.v[i], b.v[i]); });
}
inline Lanes Fma(Lanes a, Lanes b, Lanes c) {
  return Each<Lanes>([&](int i) { return vfmaq_f32(c.v[i], a.v[i], b.v[i]); });
}
inline Lanes Abs(Lanes a) {
  return Each<Lanes>([&](int i) { return vabsq_f32(a.v[i]); });
}
inline Lanes SelectGreater(Lanes a, Lanes b, Lanes x, Lanes y) {
  return Each<Lanes>([&](int i) { return vbslq_f32(vcgtq_f32(a.v[i], b.v[i]), x.v[i], y.v[i]); });
}
// Not fmax and fmin, which give NaN for NaN and order the zeros.
inline Lanes Max(Lanes a, Lanes b) { return SelectGreater(a, b, a, b); }
inline Lanes Min(Lanes a, Lanes b) { return SelectGreater(b, a, a, b); }
inline Lanes ShiftLeft23(Lanes a) {
  return Each<Lanes>(
      [&](int i) { return vreinterpretq_f32_u32(vshlq_n_u32(vreinterpretq_u32_f32(a.v[i]), 23)); });
}
inline float First(Lanes a) { return vgetq_lane_f32(a.v[0], 0); }
template <int kDistance>
inline Lanes Exchange(Lanes a) {
  return Each<Lanes>([&](int i) {
    if (kDistance >= 4) return a.v[i ^ (kDistance / 4)];
    return kDistance == 2 ? vextq_f32(a.v[i], a.v[i], 2) : vrev64q_f32(a.v[i]);
  });
}
template <int kDistance>
inline Lanes SelectBit(Lanes a, Lanes b) {
  constexpr uint32_t kAll = ~uint32_t{0};
  constexpr uint32_t kBits[4] = {0, kDistance == 1 ? kAll : 0, kDistance == 2 ? kAll : 0, kAll};
  return Each<Lanes>([&](int i) {
    if (kDistance >= 4) return (i & (kDistance / 4)) != 0 ? b.v[i] : a.v[i];
    return vbslq_f32(vld1q_u32(kBits), b.v[i], a.v[i]);
  });
}
// The 16 values as bytes, in order.
inline int8x16_t ToBytes(Lanes x) {
  int16x4_t part[4];
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) part[i] = vmovn_s32(vcvtnq_s32_f32(x.v[i]));
  return vcombine_s8(vmovn_s16(vcombine_s16(part[0], part[1])),
                     vmovn_s16(vcombine_s16(part[2], part[3])));
}
inline void StoreI8(int8_t* p, Lanes x) { vst1q_s8(p, ToBytes(x)); }
inline void StoreU8(uint8_t* p, const Lanes (&x)[4]) {
  for (int i = 0; i < 4; ++i) vst1q_u8(p + 16 * i, vreinterpretq_u8_s8(ToBytes(x[i])));
}

inline Bytes LoadBytes(const void* p) {
  const uint8_t* bytes = static_cast<const uint8_t*>(p);
  return Each<Bytes>([=](int i) { return vld1q_u8(bytes + 16 * i); });
}
inline Bytes BroadcastBytes(const void* p) {
  uint32_t bytes;
  __builtin_memcpy(&bytes, p, sizeof(bytes));
  return Each<Bytes>([=](int) { return vreinterpretq_u8_u32(vdupq_n_u32(bytes)); });
}
inline Ints BroadcastInts(int32_t x) {
  return Each<Ints>([=](int) { return vdupq_n_s32(x); });
}
// Unsigned bytes less 128, as signed ones.
inline int8x16_t LessOffset(uint8x16_t u) {
  return vreinterpretq_s8_u8(veorq_u8(u, vdupq_n_u8(0x80)));
}
// u . s = (u - 128) . s + 128 * sum(s). The last term depends on s alone, which the callers use
// many times over.
inline Ints Dot(Ints acc, Bytes u, Bytes s) {
  return Each<Ints>([&](int i) {
    const int8x16_t signed_bytes = vreinterpretq_s8_u8(s.v[i]);
    const int32x4_t sums = vdotq_s32(vdupq_n_s32(0), signed_bytes, vdupq_n_s8(1));
    const int32x4_t offset = vshlq_n_s32(sums, 7);
    return vaddq_s32(vdotq_s32(acc.v[i], LessOffset(u.v[i]), signed_bytes), offset);
  });
}
template <int kFirst, int kCount>
inline Ints BitsOf(Bytes words) {
  return Each<Ints>([&](int i) {
    const uint32x4_t shifted = vshlq_u32(vreinterpretq_u32_u8(words.v[i]), vdupq_n_s32(-kFirst));
    return vreinterpretq_s32_u32(vandq_u32(shifted, vdupq_n_u32((1u << kCount) - 1)));
  });
}
inline Lanes ToLanes(Ints a) {
  return Each<Lanes>([&](int i) { return vcvtq_f32_s32(a.v[i]); });
}

constexpr int kDotVectors = 1;
constexpr int64_t kQueryTile = 16;
#include "kernels/attention.inc"

// --- GEMM --------------------------------------------------------------------------------------

// Activations of the rows that go through all tiles together: they stay in the L2 cache.
constexpr int64_t kRowBytes = 256 << 10;

// Weights k = 4 * kQuad ... + 3 of 4 channels, from where the first of 16 k lie: 4 bits as q + 8,
// 8 bits as q.
template <int kBits, int kQuad>
inline int8x16_t LoadWeights(const uint8_t* p) {
  if (kBits == 8) return LessOffset(vld1q_u8(p + kQuad * 64));
  const uint8x16_t packed = vld1q_u8(p + kQuad / 2 * 64);
  return vreinterpretq_s8_u8(kQuad % 2 == 0 ? vandq_u8(packed, vdupq_n_u8(0x0f))
                                            : vshrq_n_u8(packed, 4));
}

// kRows rows x one tile, its channels in parts of 4 * kVectors.
template <int kBits, int kRows>
struct QuantizedBlock {
  // Up to 20 of the 32 registers hold sums. Many rows share each unpacked weight; few rows read
  // the weights in order.
  static constexpr int kVectors = kRows > 4 ? 2 : 4;
  // Independent sums per output: enough to hide the latency of sdot.
  static constexpr int kChains = kRows == 1 ? 2 : 1;

  int32x4_t acc[kChains][kRows][kVectors];

  static void Run(const QuantizedGemmArgs& args, int64_t row, int64_t tile) {
    const int64_t groups = args.k / args.group_size;
    const uint8_t* weights = args.weights + tile * kTileChannels * args.k * kBits / 8;
    const float* scales = args.weight_scales + tile * groups * kTileChannels;
    const int8_t* activations = args.activations + row * args.k;
    const int32_t* sums = args.group_sums + row * groups;
    const float* row_scales = args.activation_scales + row * groups;
    float out[kRows][kLanes] = {};
    for (int64_t g = 0; g < groups; ++g) {
      for (int channel = 0; channel < kTileChannels; channel += 4 * kVectors) {
        QuantizedBlock block;
        const bool has_zeros = kBits == 4 && args.zero_points != nullptr;
        const int64_t at = (tile * groups + g) * kTileChannels + channel;
        block.Start(sums + g, groups, has_zeros ? args.zero_points + at : nullptr);
        for (int64_t k = 0; k < args.group_size; k += 16) {
          block.Step(weights + k * kTileChannels * kBits / 8 + channel * 4, activations + k,
                     args.k);
        }
        block.AddGroup(scales + channel, channel, row_scales + g, groups, out);
      }
      weights += kTileChannels * args.group_size * kBits / 8;
      scales += kTileChannels;
      activations += args.group_size;
    }
    for (int r = 0; r < kRows; ++r) Finish(args, row + r, tile, Load(out[r]));
  }

  // `zero_points`: of the first channel, or null.
  inline void Start(const int32_t* sums, int64_t stride, const int8_t* zero_points) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      // What the weights are above q - zero point; those of 8 bits lose their offset before they
      // are multiplied.
      int32x4_t offsets = vdupq_n_s32(kBits == 4 ? 8 : 0);
      if (zero_points != nullptr) {
        uint32_t four;
        __builtin_memcpy(&four, zero_points + v * 4, sizeof(four));
        const int16x8_t zeros = vmovl_s8(vcreate_s8(four));
        offsets = vaddq_s32(offsets, vmovl_s16(vget_low_s16(zeros)));
      }
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) {
        acc[0][r][v] = vmulq_n_s32(offsets, -sums[r * stride]);
        if (kChains == 2) acc[kChains - 1][r][v] = vdupq_n_s32(0);
      }
    }
  }

  // Adds the products of 16 k.
  inline void Step(const uint8_t* weights, const int8_t* activations, int64_t k) {
    int8x16_t a[kRows];
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) a[r] = vld1q_s8(activations + r * k);
    AddQuad<0>(weights, a);
    AddQuad<1>(weights, a);
    AddQuad<2>(weights, a);
    AddQuad<3>(weights, a);
  }

  template <int kQuad>
  inline void AddQuad(const uint8_t* weights, const int8x16_t* a) {
    int8x16_t w[kVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) w[v] = LoadWeights<kBits, kQuad>(weights + v * 16);
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) {
        int32x4_t& sum = acc[kQuad % kChains][r][v];
        sum = vdotq_laneq_s32(sum, w[v], a[r], kQuad);
      }
    }
  }

  inline void AddGroup(const float* scales, int channel, const float* row_scales, int64_t stride,
                       float (*out)[kLanes]) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      const float32x4_t scale = vld1q_f32(scales + v * 4);
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) {
        int32x4_t sum = acc[0][r][v];
        if (kChains == 2) sum = vaddq_s32(sum, acc[kChains - 1][r][v]);
        float* p = out[r] + channel + v * 4;
        const float32x4_t product = vmulq_n_f32(vcvtq_f32_s32(sum), row_scales[r * stride]);
        vst1q_f32(p, vfmaq_f32(vld1q_f32(p), product, scale));
      }
    }
  }
};

// kRows rows x one tile.
template <int kRows>
struct FloatBlock {
  static void Run(const FloatGemmArgs& args, int64_t row, int64_t tile) {
    const float* weights = args.weights + tile * args.k * kTileChannels;
    const float* activations = args.activations + row * args.k;
    Lanes acc[kRows];
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) acc[r] = Broadcast(0.0f);
    for (int64_t k = 0; k < args.k; ++k) {
      const Lanes w = Load(weights + k * kTileChannels);
#pragma GCC unroll 4
      for (int r = 0; r < kRows; ++r) {
        acc[r] = Fma(Broadcast(activations[r * args.k + k]), w, acc[r]);
      }
    }
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) Finish(args, row + r, tile, acc[r]);
  }
};

template <typename Args>
using BlockFunction = void (*)(const Args&, int64_t row, int64_t tile);

// Entry [r] computes r rows.
template <int kBits>
constexpr BlockFunction<QuantizedGemmArgs> kQuantizedBlocks[] = {
    nullptr,
    QuantizedBlock<kBits, 1>::Run,
    QuantizedBlock<kBits, 2>::Run,
    QuantizedBlock<kBits, 3>::Run,
    QuantizedBlock<kBits, 4>::Run,
    QuantizedBlock<kBits, 5>::Run,
    QuantizedBlock<kBits, 6>::Run,
    QuantizedBlock<kBits, 7>::Run,
    QuantizedBlock<kBits, 8>::Run,
};
constexpr BlockFunction<FloatGemmArgs> kFloatBlocks[] = {
    nullptr, FloatBlock<1>::Run, FloatBlock<2>::Run, FloatBlock<3>::Run, FloatBlock<4>::Run};

// Rows in blocks of nearly equal size, so that none is too small to hide latencies.
template <typename Args, size_t kCount>
inline void Gemm(const Args& args, int64_t row_bytes, const BlockFunction<Args> (&blocks)[kCount]) {
  constexpr int64_t kMaxRows = kCount - 1;
  int64_t chunk = kRowBytes / row_bytes / kMaxRows * kMaxRows;
  if (chunk < 4 * kMaxRows) chunk = 4 * kMaxRows;
  for (int64_t first = 0; first < args.rows; first += chunk) {
    const int64_t rows = args.rows - first < chunk ? args.rows - first : chunk;
    const int64_t count = (rows + kMaxRows - 1) / kMaxRows;
    for (int64_t tile = args.tile_begin; tile < args.tile_end; ++tile) {
      for (int64_t i = 0; i < count; ++i) {
        const int64_t begin = rows * i / count, end = rows * (i + 1) / count;
        blocks[end - begin](args, first + begin, tile);
      }
    }
  }
}

template <int kBits>
void QuantizedGemm(const QuantizedGemmArgs& args) {
  Gemm(args, args.k, kQuantizedBlocks<kBits>);
}

void FloatGemm(const FloatGemmArgs& args) {
  Gemm(args, args.k * static_cast<int64_t>(sizeof(float)), kFloatBlocks);
}

// The chains start apart, lest the compiler make one of them.
int64_t Int8Peak(int64_t steps) {
  constexpr int kChains = 16;
  const int8x16_t ones = vdupq_n_s8(1);
  int32x4_t acc[kChains];
  for (int c = 0; c < kChains; ++c) acc[c] = vdupq_n_s32(c);
  for (int64_t i = 0; i < steps; ++i) {
#pragma GCC unroll 16
    for (int c = 0; c < kChains; ++c) acc[c] = vdotq_s32(acc[c], ones, ones);
  }
  int64_t sum = 0;
  for (int c = 0; c < kChains; ++c) sum += vaddlvq_s32(acc[c]) - 4 * c;
  return sum;
}

}  // namespace

constinit const KernelTable kNeonDotprodKernels = WithRowsAndAttention({
    .name = "neon_dotprod",
    .cpu_features = kCpuNeonDotprod,
    .gemm_w4 = QuantizedGemm<4>,
    .gemm_w8 = QuantizedGemm<8>,
    .gemm_f32 = FloatGemm,
    .int8_peak = Int8Peak,
});

}  // namespace fptq
