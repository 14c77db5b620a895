// Weight matrices in the kernels' layouts (kernels.h).
#pragma once

#include <cstdint>
#include <span>

#include "base/tensor.h"
#include "files/arena.h"
#include "kernels/kernels.h"

namespace fptq {

// Whether a linear of k inputs can have integer weights; others stay float.
inline bool HasGroups(int64_t k) { return k % kMinGroupSize == 0; }

// Group-wise integer weights: w = (q - zero point) * scale.
struct QuantizedMatrix {
  int bits = 4;                  // 4 or 8
  int64_t channels = 0;          // N, outputs
  int64_t k = 0;                 // inputs, a multiple of 32
  int64_t group_size = 0;        // divides k, a multiple of 32, at most kMaxGroupSize
  bool full_range = false;       // of 8 bits, with a q of -128: PackRow sets it
  AlignedBuffer<uint8_t> tiles;  // w4 or w8 layout
  AlignedBuffer<float> scales;   // [tiles, k / group_size, 16]
  // [tiles, k / group_size, 16], -8..8: of 4 bits that are not symmetric; else empty
  AlignedBuffer<int8_t> zero_points;

  int64_t channel_tiles() const;
  int64_t Bytes() const;  // tiles, scales and zero points
};

// Float weights.
struct FloatMatrix {
  int64_t channels = 0;
  int64_t k = 0;
  AlignedBuffer<float> tiles;  // f32 layout

  int64_t channel_tiles() const;
  int64_t Bytes() const;
};

// Allocates; then rows (output channels) are put in, in any order and from several threads if in
// different tiles. In `arena` if there is one. `symmetric`: without zero points; those of 8 bits
// have none.
QuantizedMatrix MakeQuantizedMatrix(int bits, int64_t channels, int64_t k, int64_t group_size,
                                    Arena* arena = nullptr, bool symmetric = true);
FloatMatrix MakeFloatMatrix(int64_t channels, int64_t k);

// q: [k], -8..7 for 4 bits, -128..127 for 8. scales: [k / group_size]. zeros: the same, of a matrix
// that has zero points, in -8..8.
void PackRow(QuantizedMatrix& matrix, int64_t channel, std::span<const int8_t> q,
             std::span<const float> scales, std::span<const int16_t> zeros = {});
void UnpackRow(const QuantizedMatrix& matrix, int64_t channel, std::span<int8_t> q,
               std::span<float> scales);
void PackRow(FloatMatrix& matrix, int64_t channel, std::span<const float> row);
void UnpackRow(const FloatMatrix& matrix, int64_t channel, std::span<float> row);

// One scale a row (group_size = k), absmax / 127, rounded half to even: for lm_head.
void PackRowInt8(QuantizedMatrix& matrix, int64_t channel, std::span<const float> row);

}  // namespace fptq
