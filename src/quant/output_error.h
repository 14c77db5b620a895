// What an error of the weights of a linear costs at its output.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
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
  // multiples of 32. 5 % of the mean of the diagonal is added to it, against dead channels and rows
  // too much like each other. Error naming `where` if H is not finite.
  OutputError(AlignedBuffer<float> gram, int64_t k, int64_t group_size, std::string_view where,
              ThreadPool& pool);

  static constexpr int64_t kBlock = 64;      // channels that GPTQ rounds before it tells the others
  static constexpr int64_t kMaxGroup = 128;  // of group_size

  int64_t k() const { return k_; }
  int64_t group_size() const { return group_size_; }
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
  void Factor(std::string_view where, ThreadPool& pool);

  int64_t k_, group_size_;
  std::vector<float> diagonal_, pivots_;
  std::vector<int32_t> order_;
  AlignedBuffer<float> feedback_, coupling_;
};

}  // namespace fptq
