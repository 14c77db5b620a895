#include "model/rotation.h"

#include <cmath>
#include <cstddef>

namespace fptq {
namespace {

// Sums and differences of elements that lie `half` apart. Inlined with a constant `half` the inner
// loop of small ones is unrolled; it is most of the time otherwise.
[[gnu::always_inline]] inline void AddHalves(std::span<float> row, size_t half) {
  for (size_t first = 0; first < row.size(); first += 2 * half) {
    float* __restrict a = row.data() + first;
    float* __restrict b = a + half;
    for (size_t i = 0; i < half; ++i) {
      const float sum = a[i] + b[i], difference = a[i] - b[i];
      a[i] = sum;
      b[i] = difference;
    }
  }
}

}  // namespace

void Rotate(std::span<float> row) {
  const size_t block = row.size() & (~row.size() + 1);
  if (block > 1) AddHalves(row, 1);
  if (block > 2) AddHalves(row, 2);
  if (block > 4) AddHalves(row, 4);
  for (size_t half = 8; half < block; half *= 2) AddHalves(row, half);
  const float norm = 1 / std::sqrt(static_cast<float>(block));
  for (float& x : row) x *= norm;
}

}  // namespace fptq
