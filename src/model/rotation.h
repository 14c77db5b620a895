// An orthogonal rotation that spreads outlying channels, so that 8 bits serve a row better.
#pragma once

#include <span>

namespace fptq {

// row = row H, where H is block-diagonal of normalized Walsh-Hadamard matrices, as large as the
// largest power of two that divides the row's length. H is symmetric and its own inverse, so (x H)
// (w H) = x w. The result does not depend on how it is computed: every element is a tree of sums of
// two.
void Rotate(std::span<float> row);

}  // namespace fptq
