// What a token becomes before the first layer.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "base/tensor.h"
#include "io/packed_linear.h"
#include "model/weights/norm.h"

namespace fptq {

// The tensors belong to a checkpoint.
struct Embedding {
  TensorView tokens;                      // [vocab, hidden], floats; without bytes if `packed`
  std::optional<PackedLinear> packed;     // the same as integers
  const TensorView* positions = nullptr;  // [positions, hidden], added; null: none are learned
  Norm norm;                              // of the sum; may be empty

  // The row of a token, [hidden], as it is stored.
  void ReadToken(int64_t token, std::span<float> out) const;
};

}  // namespace fptq
