// Linears in the form in which they run.
#pragma once

#include <cstdint>
#include <span>
#include <variant>
#include <vector>

#include "base/tensor.h"
#include "base/thread_pool.h"
#include "kernels/weights.h"
#include "model/saturation.h"

namespace fptq {

// How the activations of a linear with integer weights are quantized, if they are; LAE is already
// folded away.
struct ActQuant {
  float static_scale = 0;  // 0: dynamic, a scale per token and group of weights
  bool rotated = false;    // of lm_head: RotateArgs come before, and the weights are rotated, too
  bool is_float = false;   // not quantized: the weights become floats as they are used
};

struct Linear {
  // The last of them: linears that read the same input, each in a form of its own. Their outputs
  // stand one after the other.
  using Parts = std::vector<Linear>;
  std::variant<FloatMatrix, QuantizedMatrix, Parts> weights;
  AlignedBuffer<float> bias;  // [N] or empty
  ActQuant act;               // for QuantizedMatrix
  // [K] or empty, for QuantizedMatrix: its inputs are these of those that enter, in this order
  // (groups in activation order).
  std::vector<int32_t> input_order = {};

  // Its inputs are quantized.
  bool TakesInt8() const {
    return std::holds_alternative<QuantizedMatrix>(weights) && !act.is_float;
  }
  int64_t channels() const;
  int64_t k() const;
  int64_t Bytes() const;
};

// Rows that enter a linear: float, or int8 with scales. A linear in several parts takes float ones,
// which Apply quantizes for each part. One buffer serves linears of any K up to
// max_k.
class LinearInput {
 public:
  LinearInput(int64_t max_rows, int64_t max_k);

  // For rows of static linears. `guard`: one with a saturating activation gets a scale of its own
  // instead, as at a dynamic site. `saturation`: counts them; null: not counted.
  bool guard = false;
  SiteSaturation* saturation = nullptr;
  // For rows of dynamic linears: a scale per token, as the formats of other engines have it, rather
  // than per token and group of weights.
  bool token_scales = false;

  // Row `row` of the input of `linear` is x, [linear.k()]. Rows may be set from several threads.
  void Set(const Linear& linear, int64_t row, const float* x);
  // [rows, k] as set for a linear that takes float ones.
  std::span<const float> floats(int64_t rows, int64_t k) const;

 private:
  friend void Apply(const Linear&, LinearInput&, int64_t, ThreadPool&, float*, bool);
  void Quantize(const Linear& linear, int64_t row, const float* x);
  void ApplyMatrix(const Linear& linear, int64_t rows, ThreadPool& pool, float* out,
                   int64_t out_stride, bool accumulate) const;
  void ApplyExpanded(const Linear& linear, int64_t rows, ThreadPool& pool, float* out,
                     int64_t out_stride, bool accumulate) const;

  AlignedBuffer<float> f32_;           // [rows, k]
  AlignedBuffer<int8_t> q_;            // [rows, k]
  AlignedBuffer<float> scales_;        // [rows, k / group_size]
  AlignedBuffer<int32_t> group_sums_;  // [rows, k / group_size]
};

// out[rows, channels] = (or +=, if `accumulate`) linear(input).
void Apply(const Linear& linear, LinearInput& input, int64_t rows, ThreadPool& pool, float* out,
           bool accumulate);

}  // namespace fptq
