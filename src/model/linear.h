// Linears in the form in which they run.
#pragma once

#include <cstdint>
#include <span>
#include <variant>

#include "base/tensor.h"
#include "base/thread_pool.h"
#include "kernels/weights.h"

namespace fptq {

// How the activations of a linear with integer weights are quantized; LAE is already folded away.
struct ActQuant {
  float static_scale = 0;  // 0: dynamic, a scale per token
};

struct Linear {
  std::variant<FloatMatrix, QuantizedMatrix> weights;
  AlignedBuffer<float> bias;  // [N] or empty
  ActQuant act;               // for QuantizedMatrix

  bool quantized() const { return weights.index() == 1; }
  int64_t channels() const;
  int64_t k() const;
  int64_t Bytes() const;
};

// Rows that enter a linear: float, or int8 with scales. One buffer serves linears of any K up to max_k.
class LinearInput {
 public:
  LinearInput(int64_t max_rows, int64_t max_k);

  // Where to write row `row` as float, [linear.k()]. For a quantized linear one row, `temporary_row`, can serve all the
  // rows of a thread, since StoreRow quantizes it at once.
  float* FloatRow(const Linear& linear, int64_t row, int64_t temporary_row);
  // Takes what was written to FloatRow(linear, row, temporary_row).
  void StoreRow(const Linear& linear, int64_t row, int64_t temporary_row);
  std::span<const float> floats() const { return f32_.span(); }  // [rows, k], for float linears

 private:
  friend void Apply(const Linear&, const LinearInput&, int64_t, ThreadPool&, float*, bool);

  AlignedBuffer<float> f32_;          // [rows, k]
  AlignedBuffer<int8_t> q_;           // [rows, k]
  AlignedBuffer<float> scales_;       // [rows]
  AlignedBuffer<int32_t> group_sums_; // [rows, k / group_size]
};

// out[rows, channels] = (or +=, if `accumulate`) linear(input).
void Apply(const Linear& linear, const LinearInput& input, int64_t rows, ThreadPool& pool, float* out, bool accumulate);

}  // namespace fptq
