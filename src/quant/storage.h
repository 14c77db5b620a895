// The types in which floats are stored in a quantized folder: F32, F16 and BF16.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "base/tensor.h"

namespace fptq {

// `value` as it reads back after being stored as `dtype`.
float RoundToStored(float value, DataType dtype);

// Little endian.
std::vector<std::byte> StoreFloats(std::span<const float> values, DataType dtype);

}  // namespace fptq
