#include "model/rotation.h"

#include <cmath>
#include <cstddef>

namespace fptq {

void Rotate(std::span<float> row) {
  const size_t block = row.size() & (~row.size() + 1);
  for (size_t half = 1; half < block; half *= 2) {
    for (size_t first = 0; first < row.size(); first += 2 * half) {
      float* a = row.data() + first;
      float* b = a + half;
      for (size_t i = 0; i < half; ++i) {
        const float sum = a[i] + b[i], difference = a[i] - b[i];
        a[i] = sum;
        b[i] = difference;
      }
    }
  }
  const float norm = 1 / std::sqrt(static_cast<float>(block));
  for (float& x : row) x *= norm;
}

}  // namespace fptq
