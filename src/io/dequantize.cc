#include "io/dequantize.h"

#include <cstdint>
#include <cstring>

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

void F32Element(const uint8_t* in, float* out) { *out = Load<float>(in); }
void F16Element(const uint8_t* in, float* out) { *out = LoadF16(in); }
void BF16Element(const uint8_t* in, float* out) { *out = BF16ToF32(Load<uint16_t>(in)); }
void F64Element(const uint8_t* in, float* out) { *out = static_cast<float>(Load<double>(in)); }

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

template <void (*kBlock)(const uint8_t*, float*)>
void ForEachBlock(const uint8_t* in, BlockSize block, std::span<float> out) {
  const int64_t count = static_cast<int64_t>(out.size()) / block.elements;
  for (int64_t i = 0; i < count; ++i) kBlock(in + i * block.bytes, &out[0] + i * block.elements);
}

using ReadBlocks = void (*)(const uint8_t*, BlockSize, std::span<float>);

// Null for integers, and for floats that are not read.
ReadBlocks ReaderOf(DataType type) {
  switch (type) {
    case DataType::kF32:
      return ForEachBlock<F32Element>;
    case DataType::kF16:
      return ForEachBlock<F16Element>;
    case DataType::kBF16:
      return ForEachBlock<BF16Element>;
    case DataType::kF64:
      return ForEachBlock<F64Element>;
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
