// What an error of the weights of a linear costs at its output.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/tensor.h"
#include "base/thread_pool.h"

namespace fptq {

// The squared error of a linear's output over the rows X of its input is tr(E H E^T), with
// E = W - S Q and H = X^T X. This is what rounding needs of H, made once for the linears of a site:
// two matrices of k x k floats, cut into panels of columns, which are the rows of the float GEMM.
class OutputError {
 public:
  // `gram`: H, [k, k], symmetric; its memory is taken over. `group_size` divides k, both are
  // multiples of 32. A part of the mean of the diagonal is added to it, against dead channels and
  // rows too much like each other: the first of kDampings with which H is positive definite in
  // float32. None if it is with none of them, or not finite.
  static std::optional<OutputError> Make(AlignedBuffer<float> gram, int64_t k, int64_t group_size,
                                         ThreadPool& pool);

  // Of the mean of the diagonal. Beyond the last of them H is little more than its diagonal.
  static constexpr double kDampings[] = {0.05, 0.5, 5};
  static constexpr int64_t kBlock = 64;      // channels that GPTQ rounds before it tells the others
  static constexpr int64_t kMaxGroup = 128;  // of group_size

  int64_t k() const { return k_; }
  int64_t group_size() const { return group_size_; }
  double damping() const { return damping_; }  // one of kDampings
  // H is known up to a factor, a power of 4: no sum of it comes near the ends of float32.
  std::span<const float> diagonal() const { return diagonal_; }
  // The channels by falling diagonal: the order in which GPTQ rounds.
  std::span<const int32_t> order() const { return order_; }
  // With H = R R^T in that order, R upper triangular: R_jj.
  std::span<const float> pivots() const { return pivots_; }
  // R_ij / R_jj for all j, the rows, and the i of a block: [k, channels of the block].
  const float* Feedback(int64_t block) const { return feedback_.data() + block * kBlock * k_; }
  // H_ji for all j, the rows, and the i of a group: [k, group_size].
  const float* Coupling(int64_t group) const { return coupling_.data() + group * group_size_ * k_; }

 private:
  OutputError(AlignedBuffer<float> gram, int64_t k, int64_t group_size);
  bool Normalize(ThreadPool& pool);
  bool Factor(double least, ThreadPool& pool);

  int64_t k_, group_size_;
  double damping_ = 0;
  std::vector<float> diagonal_, pivots_;
  std::vector<int32_t> order_;
  AlignedBuffer<float> feedback_, coupling_;
};

}  // namespace fptq
