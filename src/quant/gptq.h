// GPTQ and descent: 4-bit weights that keep the output of a linear rather than its weights.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/tensor.h"
#include "base/thread_pool.h"
#include "model/source.h"
#include "quant/group_quant.h"

namespace fptq {

// The squared error of a linear's output over the rows X of its input is tr(E H E^T), with
// E = W - S Q and H = X^T X. This is what rounding needs of H, made once for the linears of a site.
class OutputError {
 public:
  // `gram`: H, [k, k], symmetric. `group_size` divides k, both are multiples of 32. 5 % of the mean
  // of the diagonal is added to it, against dead channels and rows too much like each other. Error
  // naming `where` if H is not finite.
  OutputError(std::span<const float> gram, int64_t k, int64_t group_size, std::string_view where,
              ThreadPool& pool);

  static constexpr int64_t kBlock = 64;  // channels that GPTQ rounds before it tells the others

  int64_t k() const { return k_; }
  int64_t group_size() const { return group_size_; }
  std::span<const float> diagonal() const { return diagonal_; }
  // The channels by falling diagonal: the order in which GPTQ rounds.
  std::span<const int32_t> order() const { return order_; }
  // With H = R R^T in that order, R upper triangular: R_ij / R_jj for the i of a block and all j,
  // as weights of the float GEMM, [k / 16][channels of the block][16].
  const float* Feedback(int64_t block) const { return feedback_.data() + block * kBlock * k_; }
  // H_ij for the i of a group and all j, the same way: [k / 16][group_size][16].
  const float* Coupling(int64_t group) const { return coupling_.data() + group * group_size_ * k_; }

 private:
  void Factor(std::span<const float> damped, std::string_view where, ThreadPool& pool);

  int64_t k_, group_size_;
  std::vector<float> diagonal_;
  std::vector<int32_t> order_;
  AlignedBuffer<float> feedback_, coupling_;
};

// Minimizes tr(E H E^T) over the 4-bit q and the scales of the groups of a linear:
//  1. scales by QuantizeGroups with the diagonal of H, and q by GPTQ with these scales: channels in
//     their order, each rounded after the errors of those before it are made up for; or plain
//     rounding for the output channels where that is better;
//  2. `sweeps` times over all groups: the best scale of a group for its q, then the best q of each
//     of its channels, all others being fixed. No step raises the error.
// The result depends neither on the number of threads nor on the ISA.
GroupQuantized RoundGptq(const SourceLinear& linear, const OutputError& error, int sweeps,
                         DataType dtype, ThreadPool& pool);

}  // namespace fptq
