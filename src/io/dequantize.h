// The stored float and block types as floats.
#pragma once

#include <cstddef>
#include <span>

#include "base/tensor.h"

namespace fptq {

// Whole blocks (elements of plain types) to out.size() floats, bit for bit the values of the `gguf`
// Python package. Error if `type` is an integer type.
void Dequantize(DataType type, std::span<const std::byte> blocks, std::span<float> out);

}  // namespace fptq
