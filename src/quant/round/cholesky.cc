#include "quant/round/cholesky.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/tensor.h"
#include "kernels/dispatch.h"

namespace fptq {
namespace {

constexpr int64_t kBlock = 64;  // columns that are eliminated together

// Factors the block of `width` rows and columns at (first, first) in double.
bool FactorDiagonal(float* matrix, int64_t n, int64_t first, int64_t width, double least) {
  double block[kBlock][kBlock] = {};
  for (int64_t i = 0; i < width; ++i) {
    for (int64_t j = i; j < width; ++j) block[i][j] = matrix[(first + i) * n + first + j];
  }
  for (int64_t j = width - 1; j >= 0; --j) {
    double square = block[j][j];
    for (int64_t c = j + 1; c < width; ++c) square -= block[j][c] * block[j][c];
    if (!(square > 0 && square >= least) || !std::isfinite(square)) return false;
    block[j][j] = std::sqrt(square);
    for (int64_t i = 0; i < j; ++i) {
      double sum = block[i][j];
      for (int64_t c = j + 1; c < width; ++c) sum -= block[i][c] * block[j][c];
      block[i][j] = sum / block[j][j];
    }
  }
  for (int64_t i = 0; i < width; ++i) {
    for (int64_t j = 0; j < width; ++j) {
      matrix[(first + i) * n + first + j] = static_cast<float>(block[i][j]);
    }
  }
  return true;
}

// Solves x R_bb^T = h for a row h of `width` elements, from the last one; x replaces h.
void SolveRow(const float* diagonal, int64_t n, int64_t width, float* row) {
  double x[kBlock];
  for (int64_t j = width - 1; j >= 0; --j) {
    double sum = row[j];
    for (int64_t c = j + 1; c < width; ++c) sum -= x[c] * double{diagonal[j * n + c]};
    x[j] = sum / double{diagonal[j * n + j]};
  }
  for (int64_t j = 0; j < width; ++j) row[j] = static_cast<float>(x[j]);
}

}  // namespace

bool FactorUpper(std::span<float> matrix, int64_t n, double least, ThreadPool& pool) {
  FPTQ_CHECK(n % (2 * kTileChannels) == 0 && std::ssize(matrix) == n * n);
  float* h = matrix.data();
  AlignedBuffer<float> negated(n * kBlock);  // [rows above the block, width]: -R
  AlignedBuffer<float> tiles(n * kBlock);    // the same rows as weights of the GEMM: R
  for (int64_t end = n; end > 0;) {
    const int64_t width = (end - 1) % kBlock + 1;  // blocks begin at multiples of kBlock
    const int64_t first = end - width;
    if (!FactorDiagonal(h, n, first, width, least)) return false;
    const float* diagonal = h + first * n + first;
    pool.ParallelFor(first, kTileChannels, [&](int64_t begin, int64_t stop) {
      for (int64_t i = begin; i < stop; ++i) {
        float* row = h + i * n + first;
        SolveRow(diagonal, n, width, row);
        float* tile = tiles.data() + i / kTileChannels * width * kTileChannels + i % kTileChannels;
        for (int64_t j = 0; j < width; ++j) {
          negated[i * width + j] = -row[j];
          tile[j * kTileChannels] = row[j];
        }
      }
    });
    // What is left: H_ac -= R_ab R_cb^T for rows a and c >= a above the block.
    pool.ParallelEach(first / kBlock, [&](int64_t i) {
      const int64_t row = i * kBlock;
      Kernels().gemm_f32({.activations = negated.data() + row * width,
                          .rows = kBlock,
                          .k = width,
                          .weights = tiles.data(),
                          .bias = nullptr,
                          .channels = first,
                          .tile_begin = row / kTileChannels,
                          .tile_end = first / kTileChannels,
                          .out = h + row * n,
                          .out_stride = n,
                          .accumulate = true});
    });
    end = first;
  }
  for (int64_t i = 0; i < n; ++i) std::fill_n(h + i * n, i, 0.0f);
  return true;
}

}  // namespace fptq
