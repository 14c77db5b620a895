// The 16-bit float types, as bits. All conversions are exact or round to nearest even, NaN stays
// NaN.
#pragma once

#include <bit>
#include <cstdint>

namespace fptq {

// Branchless, as whole tensors go through it. Shifted into the fields of a float, the value is
// 2^112 times too small, subnormals included: an exact multiplication. Infinity and NaN, which that
// would make finite, get their exponent back.
inline float F16ToF32(uint16_t bits) {
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000u) << 16;
  const uint32_t magnitude = static_cast<uint32_t>(bits & 0x7fffu) << 13;
  const uint32_t finite = std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) * 0x1p112f);
  const uint32_t special = magnitude | 0x7f80'0000u;
  return std::bit_cast<float>(sign | ((bits & 0x7c00u) == 0x7c00u ? special : finite));
}
inline float BF16ToF32(uint16_t bits) {
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}
uint16_t F32ToF16(float value);
uint16_t F32ToBF16(float value);

}  // namespace fptq
