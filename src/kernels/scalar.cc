// The oracle: plain loops that compile for any CPU and define what the other tables must give.
#include "kernels/kernels.h"

namespace fptq {
namespace {

struct Lanes {
  float v[16];
};
struct Ints {
  int32_t v[16];
};
struct Bytes {
  uint8_t v[64];
};

template <typename F>
inline Lanes Each(F f) {
  Lanes out;
  for (int i = 0; i < 16; ++i) out.v[i] = f(i);
  return out;
}

inline Lanes LoadFirst(const float* p, int64_t n) {
  return Each([=](int i) { return i < n ? p[i] : 0.0f; });
}
inline Lanes Load(const float* p) { return LoadFirst(p, 16); }
inline void StoreFirst(float* p, const Lanes& x, int64_t n) {
  for (int i = 0; i < n; ++i) p[i] = x.v[i];
}
inline void Store(float* p, const Lanes& x) { StoreFirst(p, x, 16); }
inline Lanes Broadcast(float x) {
  return Each([=](int) { return x; });
}
inline Lanes Add(const Lanes& a, const Lanes& b) {
  return Each([&](int i) { return a.v[i] + b.v[i]; });
}
inline Lanes Sub(const Lanes& a, const Lanes& b) {
  return Each([&](int i) { return a.v[i] - b.v[i]; });
}
inline Lanes Mul(const Lanes& a, const Lanes& b) {
  return Each([&](int i) { return a.v[i] * b.v[i]; });
}
inline Lanes Div(const Lanes& a, const Lanes& b) {
  return Each([&](int i) { return a.v[i] / b.v[i]; });
}
inline Lanes Max(const Lanes& a, const Lanes& b) {
  return Each([&](int i) { return a.v[i] > b.v[i] ? a.v[i] : b.v[i]; });
}
inline Lanes Min(const Lanes& a, const Lanes& b) {
  return Each([&](int i) { return a.v[i] < b.v[i] ? a.v[i] : b.v[i]; });
}
inline Lanes Fma(const Lanes& a, const Lanes& b, const Lanes& c) {
  return Each([&](int i) { return __builtin_fmaf(a.v[i], b.v[i], c.v[i]); });
}
inline Lanes Abs(const Lanes& a) {
  return Each([&](int i) { return __builtin_fabsf(a.v[i]); });
}
inline Lanes SelectGreater(const Lanes& a, const Lanes& b, const Lanes& x, const Lanes& y) {
  return Each([&](int i) { return a.v[i] > b.v[i] ? x.v[i] : y.v[i]; });
}
inline Lanes ShiftLeft23(const Lanes& a) {
  return Each([&](int i) {
    uint32_t bits;
    __builtin_memcpy(&bits, &a.v[i], sizeof(bits));
    bits <<= 23;
    float shifted;
    __builtin_memcpy(&shifted, &bits, sizeof(bits));
    return shifted;
  });
}
inline float First(const Lanes& a) { return a.v[0]; }
template <int kDistance>
inline Lanes Exchange(const Lanes& a) {
  return Each([&](int i) { return a.v[i ^ kDistance]; });
}
template <int kDistance>
inline Lanes SelectBit(const Lanes& a, const Lanes& b) {
  return Each([&](int i) { return (i & kDistance) != 0 ? b.v[i] : a.v[i]; });
}
// To the nearest integer, half to even, for |x| < 2^22.
inline float RoundHalfEven(float x) { return (x + 0x1.8p23f) - 0x1.8p23f; }
inline void StoreI8(int8_t* p, const Lanes& x) {
  for (int i = 0; i < 16; ++i) p[i] = static_cast<int8_t>(RoundHalfEven(x.v[i]));
}
inline void StoreU8(uint8_t* p, const Lanes (&x)[4]) {
  for (int i = 0; i < 64; ++i) p[i] = static_cast<uint8_t>(RoundHalfEven(x[i / 16].v[i % 16]));
}

inline Bytes LoadBytes(const void* p) {
  Bytes out;
  __builtin_memcpy(out.v, p, sizeof(out.v));
  return out;
}
inline Bytes BroadcastBytes(const void* p) {
  Bytes out;
  for (int i = 0; i < 16; ++i) __builtin_memcpy(out.v + 4 * i, p, 4);
  return out;
}
inline Ints BroadcastInts(int32_t x) {
  Ints out;
  for (int i = 0; i < 16; ++i) out.v[i] = x;
  return out;
}
inline Ints Dot(const Ints& acc, const Bytes& u, const Bytes& s) {
  Ints out = acc;
  for (int i = 0; i < 64; ++i) out.v[i / 4] += u.v[i] * static_cast<int8_t>(s.v[i]);
  return out;
}
template <int kFirst, int kCount>
inline Ints BitsOf(const Bytes& words) {
  Ints out;
  for (int i = 0; i < 16; ++i) {
    uint32_t word;
    __builtin_memcpy(&word, words.v + 4 * i, 4);
    out.v[i] = static_cast<int32_t>(word >> kFirst & ((1u << kCount) - 1));
  }
  return out;
}
inline Lanes ToLanes(const Ints& a) {
  return Each([&](int i) { return static_cast<float>(a.v[i]); });
}

constexpr int kDotVectors = 4;
constexpr int64_t kQueryTile = 16;
#include "kernels/attention.inc"

template <typename Args>
void Finish(const Args& args, int64_t row, int64_t channel, float result) {
  float& out = args.out[row * args.out_stride + channel];
  if (args.bias != nullptr) result += args.bias[channel];
  out = args.accumulate ? out + result : result;
}

// q of `channel` at k, from a tile's bytes.
int WeightW4(const uint8_t* tile, int64_t channel, int64_t k) {
  const int byte = tile[(k / 8 * kTileChannels + channel) * 4 + k % 4];
  return (k % 8 < 4 ? byte & 15 : byte >> 4) - 8;
}
int WeightW8(const uint8_t* tile, int64_t channel, int64_t k) {
  return tile[(k / 4 * kTileChannels + channel) * 4 + k % 4] - 128;
}

template <int kBits>
void QuantizedGemm(const QuantizedGemmArgs& args) {
  const int64_t groups = args.k / args.group_size;
  const int64_t begin = args.tile_begin * kTileChannels;
  const int64_t end = args.tile_end * kTileChannels;
  for (int64_t r = 0; r < args.rows; ++r) {
    for (int64_t n = begin; n < end && n < args.channels; ++n) {
      const int64_t tile = n / kTileChannels, c = n % kTileChannels;
      const uint8_t* weights = args.weights + tile * kTileChannels * args.k * kBits / 8;
      float acc = 0;
      for (int64_t g = 0; g < groups; ++g) {
        const int64_t group_index = (tile * groups + g) * kTileChannels + c;
        const bool has_zero = kBits == 4 && args.zero_points != nullptr;
        const int zero = has_zero ? args.zero_points[group_index] : 0;
        int32_t sum = 0;
        for (int64_t k = g * args.group_size; k < (g + 1) * args.group_size; ++k) {
          const int q = kBits == 4 ? WeightW4(weights, c, k) : WeightW8(weights, c, k);
          sum += args.activations[r * args.k + k] * (q - zero);
        }
        const float product = static_cast<float>(sum) * args.activation_scales[r * groups + g];
        acc = __builtin_fmaf(product, args.weight_scales[group_index], acc);
      }
      Finish(args, r, n, acc);
    }
  }
}

void FloatGemm(const FloatGemmArgs& args) {
  const int64_t begin = args.tile_begin * kTileChannels;
  const int64_t end = args.tile_end * kTileChannels;
  for (int64_t r = 0; r < args.rows; ++r) {
    for (int64_t n = begin; n < end && n < args.channels; ++n) {
      const float* weights =
          args.weights + n / kTileChannels * args.k * kTileChannels + n % kTileChannels;
      float acc = 0;
      for (int64_t k = 0; k < args.k; ++k) {
        acc = __builtin_fmaf(args.activations[r * args.k + k], weights[k * kTileChannels], acc);
      }
      Finish(args, r, n, acc);
    }
  }
}

int64_t Int8Peak(int64_t steps) {
  Bytes ones;
  for (uint8_t& byte : ones.v) byte = 1;
  int64_t sum = 0;
  for (int64_t i = 0; i < steps; ++i) {
    asm volatile("" : "+m"(ones));  // the compiler must not know them
    const Ints dot = Dot(BroadcastInts(0), ones, ones);
    for (const int32_t lane : dot.v) sum += lane;
  }
  return sum;
}

}  // namespace

constinit const KernelTable kScalarKernels = WithRowsAndAttention({
    .name = "scalar",
    .cpu_features = 0,
    .gemm_w4 = QuantizedGemm<4>,
    .gemm_w8 = QuantizedGemm<8>,
    .gemm_f32 = FloatGemm,
    .int8_peak = Int8Peak,
});

}  // namespace fptq
