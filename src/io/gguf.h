// GGUF files, versions 2 and 3.
#pragma once

#include <map>
#include <span>
#include <string>
#include <string_view>

#include "base/json.h"
#include "base/tensor.h"

namespace fptq {

struct GgufContents {
  // All key-value pairs as one flat object, in the order of the file. Strings are well-formed
  // UTF-8: a byte that belongs to no character has become U+FFFD.
  Json metadata;
  // Shapes are outermost first, the reverse of the file's order.
  std::map<std::string, TensorView, std::less<>> tensors;
};

bool IsGguf(std::span<const std::byte> file);

// Reads `file`, a whole file; the tensors point into it. Errors start with `where`.
GgufContents ParseGguf(std::span<const std::byte> file, std::string_view where);

}  // namespace fptq
