// The stored float and block types as floats.
#pragma once

#include <cstddef>
#include <span>

#include "base/tensor.h"

namespace fptq {

// Whether Dequantize reads the type.
bool HoldsFloats(DataType type);

// Whole blocks (elements of plain types) to out.size() floats, bit for bit the values of the `gguf`
// Python package. Error unless HoldsFloats.
void Dequantize(DataType type, std::span<const std::byte> blocks, std::span<float> out);

}  // namespace fptq
