// The Cholesky factor of a symmetric matrix, from its last row up.
#pragma once

#include <cstdint>
#include <span>

#include "base/thread_pool.h"

namespace fptq {

// H = R R^T with R upper triangular. `matrix` is H, [n, n], of which the upper triangle is read,
// and becomes R; the lower triangle is zeroed. n is a multiple of 32. Returns whether H was
// positive definite in this precision (float32; the blocks on the diagonal in double), and the
// squares of R's diagonal at least `least`; if not, `matrix` is garbage. The result does not depend
// on the number of threads.
bool FactorUpper(std::span<float> matrix, int64_t n, double least, ThreadPool& pool);

}  // namespace fptq
