// GGUF files, versions 2 and 3.
#pragma once

#include <cstdint>
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

// A model may be split over several files, NAME-00001-of-0000N.gguf: the first has the metadata of
// the whole, each its own tensors.
struct GgufSplit {
  int64_t part = 0;      // from 0
  int64_t count = 1;     // parts in all
  int64_t tensors = -1;  // in all parts; -1: not said
};

// Of a file with this metadata; Error naming `where` if it is malformed.
GgufSplit ParseGgufSplit(const Json& metadata, std::string_view where);

bool IsGguf(std::span<const std::byte> file);

// Reads `file`, a whole file; the tensors point into it. Errors start with `where`.
GgufContents ParseGguf(std::span<const std::byte> file, std::string_view where);

}  // namespace fptq
