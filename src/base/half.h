// The 16-bit float types, as bits. All conversions are exact or round to nearest even, NaN stays
// NaN.
#pragma once

#include <cstdint>

namespace fptq {

float F16ToF32(uint16_t bits);
uint16_t F32ToF16(float value);
float BF16ToF32(uint16_t bits);
uint16_t F32ToBF16(float value);

}  // namespace fptq
