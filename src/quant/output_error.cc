#include "quant/output_error.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "base/error.h"
#include "quant/cholesky.h"

namespace fptq {
namespace {

// Turns each `width` rows of the matrix into a panel, the same numbers as [k, width], in place.
void MakePanels(std::span<float> matrix, int64_t k, int64_t width, ThreadPool& pool) {
  pool.ParallelEach((k + width - 1) / width, [&](int64_t panel) {
    thread_local std::vector<float> rows;
    const int64_t first = panel * width, count = std::min(width, k - first);
    float* const at = matrix.data() + first * k;
    rows.assign(at, at + count * k);
    constexpr int64_t kStep = 16;  // columns that are read together: a cache line
    for (int64_t j = 0; j < k; j += kStep) {
      for (int64_t i = 0; i < count; ++i) {
        const float* from = rows.data() + i * k + j;
        for (int64_t c = 0; c < kStep; ++c) at[(j + c) * count + i] = from[c];
      }
    }
  });
}

}  // namespace

OutputError::OutputError(AlignedBuffer<float> gram, int64_t k, int64_t group_size,
                         std::string_view where, ThreadPool& pool)
    : k_(k), group_size_(group_size), coupling_(std::move(gram)) {
  FPTQ_CHECK(coupling_.size() == k * k && k % group_size == 0 && group_size % 32 == 0 &&
             group_size <= kMaxGroup);
  double mean = 0;
  for (int64_t j = 0; j < k; ++j) mean += coupling_[j * k + j] / static_cast<double>(k);
  if (!std::isfinite(mean)) {
    throw Error("{}: expected finite sums of products of activations, found {}", where, mean);
  }
  // Of the mean: what calibration did not show must not go unpunished, and calibration text is not
  // the text of use. A site that calibration saw dead is rounded plainly.
  constexpr double kDamping = 0.05;
  const auto damping = static_cast<float>(mean > 0 ? kDamping * mean : 1);
  for (int64_t j = 0; j < k; ++j) {
    coupling_[j * k + j] += damping;
    diagonal_.push_back(coupling_[j * k + j]);
  }
  order_.resize(static_cast<size_t>(k));
  std::iota(order_.begin(), order_.end(), 0);
  std::ranges::stable_sort(order_, std::ranges::greater{},
                           [&](int32_t j) { return diagonal_[static_cast<size_t>(j)]; });
  Factor(where, pool);
  MakePanels(coupling_.span(), k, group_size, pool);
}

// Before coupling_ is cut into panels.
void OutputError::Factor(std::string_view where, ThreadPool& pool) {
  feedback_.Resize(k_ * k_);
  pool.ParallelFor(k_, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const float* row = coupling_.data() + order_[static_cast<size_t>(i)] * k_;
      for (int64_t j = 0; j < k_; ++j) feedback_[i * k_ + j] = row[order_[static_cast<size_t>(j)]];
    }
  });
  if (!FactorUpper(feedback_.span(), k_, pool)) {
    throw Error("{}: expected sums of products of activations that are positive definite", where);
  }
  std::vector<float> inverse;
  for (int64_t j = 0; j < k_; ++j) {
    pivots_.push_back(feedback_[j * k_ + j]);
    inverse.push_back(1 / pivots_.back());
  }
  pool.ParallelFor(k_, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      for (int64_t j = i; j < k_; ++j) feedback_[i * k_ + j] *= inverse[static_cast<size_t>(j)];
    }
  });
  MakePanels(feedback_.span(), k_, kBlock, pool);
}

}  // namespace fptq
