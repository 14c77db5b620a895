#include "quant/round/output_error.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "base/error.h"
#include "quant/round/cholesky.h"

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

double DiagonalMean(std::span<const float> matrix, int64_t k) {
  double mean = 0;
  for (int64_t j = 0; j < k; ++j) mean += matrix.data()[j * k + j] / static_cast<double>(k);
  return mean;
}

}  // namespace

OutputError::OutputError(AlignedBuffer<float> gram, int64_t k, int64_t group_size)
    : k_(k), group_size_(group_size), coupling_(std::move(gram)) {
  FPTQ_CHECK(coupling_.size() == k * k && k % group_size == 0 && group_size % 32 == 0 &&
             group_size <= kMaxGroup);
}

std::optional<OutputError> OutputError::Make(AlignedBuffer<float> gram, int64_t k,
                                             int64_t group_size, ThreadPool& pool) {
  OutputError error(std::move(gram), k, group_size);
  if (!error.Normalize(pool)) return std::nullopt;
  const double mean = DiagonalMean(error.coupling_.span(), k);
  std::vector<float> diagonal;
  for (int64_t j = 0; j < k; ++j) diagonal.push_back(error.coupling_[j * k + j]);
  error.order_.resize(static_cast<size_t>(k));
  std::iota(error.order_.begin(), error.order_.end(), 0);
  std::ranges::stable_sort(error.order_, std::ranges::greater{},
                           [&](int32_t j) { return diagonal[static_cast<size_t>(j)]; });
  for (const double damping : kDampings) {
    // What calibration did not show must not go unpunished, and calibration text is not the text of
    // use. A site that calibration saw dead is rounded plainly.
    const auto added = static_cast<float>(mean > 0 ? damping * mean : 1);
    error.damping_ = damping;
    error.diagonal_ = diagonal;
    for (int64_t j = 0; j < k; ++j) {
      error.coupling_[j * k + j] = error.diagonal_[static_cast<size_t>(j)] += added;
    }
    // No pivot is smaller than what was added but for rounding.
    if (!error.Factor(/*least=*/0.1 * double{added}, pool)) continue;
    MakePanels(error.coupling_.span(), k, group_size, pool);
    return error;
  }
  return std::nullopt;
}

// Multiplies H by a power of 4, so that the mean of its diagonal is about 1: the same bits of all
// that follows, without its overflows. False if H is not finite.
bool OutputError::Normalize(ThreadPool& pool) {
  const double mean = DiagonalMean(coupling_.span(), k_);
  if (!std::isfinite(mean)) return false;
  if (mean == 0) return true;
  constexpr int kMost = 126;  // so that the factor is a normal number
  const int exponent = std::clamp(-std::ilogb(mean) / 2 * 2, -kMost, kMost);
  const float factor = std::ldexp(1.0f, exponent);
  pool.ParallelFor(coupling_.size(), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) coupling_.data()[i] *= factor;
  });
  return true;
}

// Before coupling_ is cut into panels. False if the square of a pivot is smaller than `least`.
bool OutputError::Factor(double least, ThreadPool& pool) {
  feedback_.Resize(k_ * k_);
  pool.ParallelFor(k_, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const float* row = coupling_.data() + order_[static_cast<size_t>(i)] * k_;
      for (int64_t j = 0; j < k_; ++j) feedback_[i * k_ + j] = row[order_[static_cast<size_t>(j)]];
    }
  });
  if (!FactorUpper(feedback_.span(), k_, least, pool)) return false;
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
  return true;
}

}  // namespace fptq
