// What a token becomes before the first layer.
#pragma once

#include "base/tensor.h"
#include "model/norm.h"

namespace fptq {

// The tensors belong to a checkpoint.
struct Embedding {
  const TensorView* tokens = nullptr;     // [vocab, hidden]
  const TensorView* positions = nullptr;  // [positions, hidden], added; null: none are learned
  Norm norm;                              // of the sum; may be empty
};

}  // namespace fptq
