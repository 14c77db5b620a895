// The tensors of a quantized linear.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/checkpoint.h"
#include "io/compressed_tensors.h"

namespace fptq {

// Checked against its shape.
struct PackedLinear {
  std::string module;
  int64_t channels = 0;  // N
  int64_t k = 0;
  int64_t group_size = 0;  // k if a row has one scale
  LinearQuantization quantization;
  TensorView weights;      // kPacked: [N, K * bits / 32, rounded up] I32; kInt8: [N, K] I8; kFloat:
                           // [N, K]; of GPTQ and AWQ as gptq_awq.h has it, like the next two
  TensorView scales;       // [N, K / group_size] F32, F16 or BF16; per_tensor: one element
  TensorView zero_points;  // if not symmetric, kPacked: [N * bits / 32, rounded up, K / group_size]
                           // I32, packed along N; else of the shape of scales, I8
  float input_scale = 0;   // of kStaticTensor; else 0
  // [K]: the inputs in the order of their groups, where those of a group do not lie side by side
  // (activation order); empty: as they are.
  std::vector<int32_t> input_order;

  int64_t groups() const { return k / group_size; }
  bool columns() const;  // the layouts of GPTQ and AWQ

  // A row: q [k], in input_order; zeros, scales [groups]; q is of weight_bits and so are zeros, but
  // that those of kGptq may be 2^(weight_bits - 1). Error if a scale is NaN or infinite, or an
  // integer that is stored in more bits does not fit.
  void ReadRow(int64_t channel, std::span<int8_t> q, std::span<int16_t> zeros,
               std::span<float> scales_out) const;
  // What the row stands for: (q - zero) * scale, [k], the inputs in their own order.
  void DequantizeRow(int64_t channel, std::span<float> out) const;

 private:
  uint32_t Field(const TensorView& words, int64_t row, int64_t channel) const;
  void ReadColumn(int64_t channel, std::span<int8_t> q) const;
  int16_t ReadZeroPoint(int64_t channel, int64_t group) const;
  void CheckRange(std::span<const int8_t> q, std::string_view tensor) const;
  void UnpackWords(int64_t channel, std::span<int8_t> q) const;
  void RoundFloats(int64_t channel, std::span<const int16_t> zeros,
                   std::span<const float> scales_of_row, std::span<int8_t> q) const;
};

// What PackedLinear::ReadRow fills.
struct PackedRow {
  PackedRow(const PackedLinear& linear, int64_t channel)
      : q(static_cast<size_t>(linear.k)),
        zeros(static_cast<size_t>(linear.groups())),
        scales(static_cast<size_t>(linear.groups())) {
    linear.ReadRow(channel, q, zeros, scales);
  }
  std::vector<int8_t> q;       // [k]
  std::vector<int16_t> zeros;  // [groups]
  std::vector<float> scales;   // [groups]
};

// Error naming the tensor if one is missing, or does not have the shape, type or value that it must
// have.
PackedLinear GetPackedLinear(const Checkpoint& checkpoint, std::string_view module,
                             const LinearQuantization& quantization, int64_t channels, int64_t k);

}  // namespace fptq
