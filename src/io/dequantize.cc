#include "io/dequantize.h"

#include <bit>
#include <cstdint>
#include <cstring>
#include <utility>

#include "base/error.h"
#include "base/half.h"

namespace fptq {
namespace {

// Layouts are those of GGUF. Scales are F16; nibbles lie with the first half of a run of elements
// low, the second high; the order of the float operations is part of the definition.

template <typename T>
T Load(const uint8_t* p) {
  T value;
  std::memcpy(&value, p, sizeof(T));
  return value;
}

float LoadF16(const uint8_t* p) { return F16ToF32(Load<uint16_t>(p)); }
float F32Element(float x) { return x; }
float F64Element(double x) { return static_cast<float>(x); }

// d, 16 bytes of nibbles.
void Q4_0Block(const uint8_t* in, float* out) {
  const float d = LoadF16(in);
  const uint8_t* q = in + 2;
  for (int i = 0; i < 16; ++i) {
    out[i] = d * static_cast<float>((q[i] & 15) - 8);
    out[i + 16] = d * static_cast<float>((q[i] >> 4) - 8);
  }
}

// d, m, 16 bytes of nibbles.
void Q4_1Block(const uint8_t* in, float* out) {
  const float d = LoadF16(in);
  const float m = LoadF16(in + 2);
  const uint8_t* q = in + 4;
  for (int i = 0; i < 16; ++i) {
    out[i] = d * static_cast<float>(q[i] & 15) + m;
    out[i + 16] = d * static_cast<float>(q[i] >> 4) + m;
  }
}

// The 5 bits of element i: its nibble, and bit i of `high`.
int FiveBits(const uint8_t* nibbles, uint32_t high, int i) {
  const int low = i < 16 ? nibbles[i] & 15 : nibbles[i - 16] >> 4;
  return low | static_cast<int>(high >> i & 1u) << 4;
}

// d, 32 high bits, 16 bytes of nibbles.
void Q5_0Block(const uint8_t* in, float* out) {
  const float d = LoadF16(in);
  const uint32_t high = Load<uint32_t>(in + 2);
  for (int i = 0; i < 32; ++i) out[i] = d * static_cast<float>(FiveBits(in + 6, high, i) - 16);
}

// d, m, 32 high bits, 16 bytes of nibbles.
void Q5_1Block(const uint8_t* in, float* out) {
  const float d = LoadF16(in);
  const float m = LoadF16(in + 2);
  const uint32_t high = Load<uint32_t>(in + 4);
  for (int i = 0; i < 32; ++i) out[i] = d * static_cast<float>(FiveBits(in + 8, high, i)) + m;
}

// d, 32 signed bytes.
void Q8_0Block(const uint8_t* in, float* out) {
  const float d = LoadF16(in);
  for (int i = 0; i < 32; ++i) out[i] = static_cast<float>(static_cast<int8_t>(in[2 + i])) * d;
}

// Scale and minimum of run s (of 8) of a Q4_K or Q5_K block, 6 bits each in 12 bytes: those of runs
// 0..3 in bytes 0..3 and 4..7; of runs 4..7 the low 4 bits in bytes 8..11, the high 2 atop of bytes
// 0..3 and 4..7.
struct ScaleMin {
  int scale;
  int min;
};
ScaleMin SixBitScaleMin(const uint8_t* packed, int s) {
  if (s < 4) return {packed[s] & 63, packed[s + 4] & 63};
  return {(packed[s + 4] & 15) | (packed[s - 4] >> 6) << 4, packed[s + 4] >> 4 | (packed[s] >> 6)
                                                                                     << 4};
}

// d, dmin, 12 bytes of scales, then 256 elements in 8 runs of 32: Q5_K has 32 bytes of high bits
// (bit s for run s) before the nibbles, of which runs 2i and 2i + 1 share 32 bytes.
template <bool kHasHighBits>
void Q4_KOrQ5_KBlock(const uint8_t* in, float* out) {
  const float d = LoadF16(in);
  const float dmin = LoadF16(in + 2);
  const uint8_t* high = in + 16;
  const uint8_t* nibbles = kHasHighBits ? high + 32 : high;
  for (int s = 0; s < 8; ++s) {
    const auto [scale, min] = SixBitScaleMin(in + 4, s);
    const float run_scale = d * static_cast<float>(scale);
    const float run_min = dmin * static_cast<float>(min);
    for (int i = 0; i < 32; ++i) {
      int q = nibbles[s / 2 * 32 + i] >> (s % 2 * 4) & 15;
      if constexpr (kHasHighBits) q |= (high[i] >> s & 1) << 4;
      out[s * 32 + i] = run_scale * static_cast<float>(q) - run_min;
    }
  }
}

// 16 bytes of scale (low nibble) and minimum (high), each of 16 elements, 64 bytes of bit pairs, d,
// dmin. Elements go in 8 runs of 32, 4 to each half of the block.
void Q2_KBlock(const uint8_t* in, float* out) {
  const float d = LoadF16(in + 80);
  const float dmin = LoadF16(in + 82);
  for (int i = 0; i < 256; ++i) {
    const int q = in[16 + i / 128 * 32 + i % 32] >> (i / 32 % 4 * 2) & 3;
    const float scale = d * static_cast<float>(in[i / 16] & 15);
    const float min = dmin * static_cast<float>(in[i / 16] >> 4);
    out[i] = scale * static_cast<float>(q) - min;
  }
}

// 32 bytes of high bits (bit s for run s of 32 elements, 0 for an offset of -4), 64 bytes of bit
// pairs as in Q2_K, 12 bytes of scales, d. A scale, of 16 elements, has 6 bits with an offset of
// 32: the low 4 in bytes 0..7, the high 2 in bytes 8..11.
void Q3_KBlock(const uint8_t* in, float* out) {
  const float d = LoadF16(in + 108);
  const uint8_t* pairs = in + 32;
  const uint8_t* packed = in + 96;
  for (int i = 0; i < 256; ++i) {
    const int s = i / 16;
    const int six_bits =
        (packed[s % 8] >> (s / 8 * 4) & 15) | (packed[8 + s % 4] >> (s / 4 * 2) & 3) << 4;
    const int low = pairs[i / 128 * 32 + i % 32] >> (i / 32 % 4 * 2) & 3;
    const int high = in[i % 32] >> (i / 32) & 1;
    const float scale = d * static_cast<float>(six_bits - 32);
    out[i] = scale * static_cast<float>(low - 4 + 4 * high);
  }
}

// 128 bytes of nibbles, 64 of high bit pairs, 16 signed scales (of 16 elements each), d. Elements
// go in 8 runs of 32, 4 to each half of the block.
void Q6_KBlock(const uint8_t* in, float* out) {
  const uint8_t* scales = in + 192;
  const float d = LoadF16(in + 208);
  for (int s = 0; s < 8; ++s) {
    const int half = s / 4;
    const int run = s % 4;
    const uint8_t* low = in + half * 64 + run % 2 * 32;
    const uint8_t* high = in + 128 + half * 32;
    for (int i = 0; i < 32; ++i) {
      const int q = (low[i] >> (run / 2 * 4) & 15) | (high[i] >> (run * 2) & 3) << 4;
      const float scale = d * static_cast<float>(static_cast<int8_t>(scales[s * 2 + i / 16]));
      out[s * 32 + i] = scale * static_cast<float>(q - 32);
    }
  }
}

// The steps of the IQ4 types, and twice those of E2M1.
constexpr int8_t kIq4Steps[] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                1,    13,   25,  38,  53,  69,  89,  113};
constexpr int8_t kE2M1Steps[] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

// 32 elements of 16 bytes of nibbles, which are indices into `steps`.
void SteppedNibbles(const uint8_t* nibbles, const int8_t* steps, float scale, float* out) {
  for (int i = 0; i < 16; ++i) {
    out[i] = scale * static_cast<float>(steps[nibbles[i] & 15]);
    out[i + 16] = scale * static_cast<float>(steps[nibbles[i] >> 4]);
  }
}

// d, 16 bytes of nibbles.
void IQ4_NLBlock(const uint8_t* in, float* out) {
  SteppedNibbles(in + 2, kIq4Steps, LoadF16(in), out);
}

// d, 16 bits of high bit pairs and 4 bytes of low nibbles of 8 scales with an offset of 32, then
// 128 bytes of nibbles.
void IQ4_XSBlock(const uint8_t* in, float* out) {
  const float d = LoadF16(in);
  const uint32_t high = Load<uint16_t>(in + 2);
  for (int s = 0; s < 8; ++s) {
    const int six_bits = (in[4 + s / 2] >> (s % 2 * 4) & 15) | static_cast<int>(high >> (2 * s) & 3)
                                                                   << 4;
    const float scale = d * static_cast<float>(six_bits - 32);
    SteppedNibbles(in + 8 + 16 * s, kIq4Steps, scale, out + 32 * s);
  }
}

// The exponent of half of the scale, 16 bytes of nibbles.
void MXFP4Block(const uint8_t* in, float* out) {
  const uint32_t exponent = in[0];
  const uint32_t bits = exponent < 2 ? 0x00200000u << exponent : (exponent - 1) << 23;
  SteppedNibbles(in + 1, kE2M1Steps, std::bit_cast<float>(bits), out);
}

// Digit i (of base 3, most significant first) of a byte that holds a fraction in 256ths, less 1.
int TernaryDigit(uint8_t fraction, int i) {
  constexpr uint8_t kPowers[] = {1, 3, 9, 27, 81};
  return static_cast<uint8_t>(fraction * kPowers[i]) * 3 / 256 - 1;
}

// 32 bytes, 16 bytes and 4 bytes with 5, 5 and 4 digits each, first of all bytes the first digit;
// then d.
void TQ1_0Block(const uint8_t* in, float* out) {
  const float d = LoadF16(in + 52);
  for (const auto& [bytes, digits] : {std::pair{32, 5}, {16, 5}, {4, 4}}) {
    for (int digit = 0; digit < digits; ++digit) {
      for (int i = 0; i < bytes; ++i) *out++ = d * static_cast<float>(TernaryDigit(in[i], digit));
    }
    in += bytes;
  }
}

// 64 bytes of bit pairs as in Q2_K, d.
void TQ2_0Block(const uint8_t* in, float* out) {
  const float d = LoadF16(in + 64);
  for (int i = 0; i < 256; ++i) {
    const int q = in[i / 128 * 32 + i % 32] >> (i / 32 % 4 * 2) & 3;
    out[i] = d * static_cast<float>(q - 1);
  }
}

template <void (*kBlock)(const uint8_t*, float*)>
void ForEachBlock(const uint8_t* in, BlockSize block, std::span<float> out) {
  const int64_t count = static_cast<int64_t>(out.size()) / block.elements;
  for (int64_t i = 0; i < count; ++i) kBlock(in + i * block.bytes, &out[0] + i * block.elements);
}

// Plain types, in loops of which compilers make vectors.
template <typename T, float (*kConvert)(T)>
void ForEachElement(const uint8_t* in, BlockSize, std::span<float> out) {
  for (size_t i = 0; i < out.size(); ++i) out[i] = kConvert(Load<T>(in + i * sizeof(T)));
}

using ReadBlocks = void (*)(const uint8_t*, BlockSize, std::span<float>);

// Null for integers, and for floats that are not read.
ReadBlocks ReaderOf(DataType type) {
  switch (type) {
    case DataType::kF32:
      return ForEachElement<float, F32Element>;
    case DataType::kF16:
      return ForEachElement<uint16_t, F16ToF32>;
    case DataType::kBF16:
      return ForEachElement<uint16_t, BF16ToF32>;
    case DataType::kF64:
      return ForEachElement<double, F64Element>;
    case DataType::kQ4_0:
      return ForEachBlock<Q4_0Block>;
    case DataType::kQ4_1:
      return ForEachBlock<Q4_1Block>;
    case DataType::kQ5_0:
      return ForEachBlock<Q5_0Block>;
    case DataType::kQ5_1:
      return ForEachBlock<Q5_1Block>;
    case DataType::kQ8_0:
      return ForEachBlock<Q8_0Block>;
    case DataType::kQ4_K:
      return ForEachBlock<Q4_KOrQ5_KBlock<false>>;
    case DataType::kQ5_K:
      return ForEachBlock<Q4_KOrQ5_KBlock<true>>;
    case DataType::kQ6_K:
      return ForEachBlock<Q6_KBlock>;
    case DataType::kQ2_K:
      return ForEachBlock<Q2_KBlock>;
    case DataType::kQ3_K:
      return ForEachBlock<Q3_KBlock>;
    case DataType::kIQ4_NL:
      return ForEachBlock<IQ4_NLBlock>;
    case DataType::kIQ4_XS:
      return ForEachBlock<IQ4_XSBlock>;
    case DataType::kTQ1_0:
      return ForEachBlock<TQ1_0Block>;
    case DataType::kTQ2_0:
      return ForEachBlock<TQ2_0Block>;
    case DataType::kMXFP4:
      return ForEachBlock<MXFP4Block>;
    case DataType::kI8:
    case DataType::kU8:
    case DataType::kI16:
    case DataType::kU16:
    case DataType::kI32:
    case DataType::kU32:
    case DataType::kI64:
    case DataType::kU64:
    case DataType::kBool:
    case DataType::kF8E4M3:
    case DataType::kF8E5M2:
    case DataType::kF8E8M0:
      return nullptr;
  }
  return nullptr;
}

}  // namespace

bool HoldsFloats(DataType type) { return ReaderOf(type) != nullptr; }

void Dequantize(DataType type, std::span<const std::byte> blocks, std::span<float> out) {
  const BlockSize block = BlockSizeOf(type);
  const int64_t count = static_cast<int64_t>(out.size()) / block.elements;
  FPTQ_CHECK(static_cast<int64_t>(out.size()) == count * block.elements);
  FPTQ_CHECK(static_cast<int64_t>(blocks.size()) == count * block.bytes);
  const ReadBlocks read = ReaderOf(type);
  if (read == nullptr) throw Error("expected a tensor of floats, found {}", DataTypeName(type));
  read(reinterpret_cast<const uint8_t*>(blocks.data()), block, out);
}

}  // namespace fptq
