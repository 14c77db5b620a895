// Linears of a model as floats, whatever form they are stored in.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "model/source.h"
#include "model/weights/float_layer.h"

namespace fptq {

// Hugging Face's names of the linears of all layers.
std::vector<std::string> LinearNames(const ModelSource& source);

// The linear of that name without its bias; what is stored as integers is w = (q - zero point) *
// scale. Error if there is none of that name.
SourceLinear DequantizedLinear(const ModelSource& source, std::string_view name);

}  // namespace fptq
