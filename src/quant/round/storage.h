// The types in which floats are stored in a quantized folder: F32, F16 and BF16.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

#include "base/tensor.h"

namespace fptq {

// `value` as it reads back after being stored as `dtype`.
float RoundToStored(float value, DataType dtype);

// The largest finite number of `dtype`, and the smallest normal one: below it a type has fewer
// digits.
float LargestStored(DataType dtype);
float SmallestNormalStored(DataType dtype);

// The scale of a group of weights as it reads back. Where the type has no such number, the nearest
// one that leaves the weights something: the largest, or the smallest, with the sign of `scale`.
// That is 2^-24 in F16, and a normal number in F32 and BF16, so that its inverse is finite.
float RoundToStoredScale(float scale, DataType dtype);

// Little endian. Error naming `where` and the index of a value that the type cannot hold.
std::vector<std::byte> StoreFloats(std::span<const float> values, DataType dtype,
                                   std::string_view where);

}  // namespace fptq
