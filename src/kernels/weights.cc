#include "kernels/weights.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/error.h"
#include "kernels/kernels.h"

namespace fptq {
namespace {

int64_t TileCount(int64_t channels) { return (channels + kTileChannels - 1) / kTileChannels; }

// Index of the byte that holds (channel, k), and for 4 bits whether it is the high nibble.
int64_t ByteIndex(const QuantizedMatrix& m, int64_t channel, int64_t k) {
  const int64_t per_vector = m.bits == 4 ? 8 : 4;  // k's that a vector of 16 x 4 bytes covers
  const int64_t vector = channel / kTileChannels * (m.k / per_vector) + k / per_vector;
  return (vector * kTileChannels + channel % kTileChannels) * 4 + k % 4;
}
bool IsHighNibble(int64_t k) { return k % 8 >= 4; }

int64_t ScaleIndex(const QuantizedMatrix& m, int64_t channel, int64_t group) {
  return (channel / kTileChannels * (m.k / m.group_size) + group) * kTileChannels +
         channel % kTileChannels;
}

int64_t FloatIndex(const FloatMatrix& m, int64_t channel, int64_t k) {
  return (channel / kTileChannels * m.k + k) * kTileChannels + channel % kTileChannels;
}

template <typename Span>
void CheckSize(const Span& span, int64_t expected) {
  FPTQ_CHECK(static_cast<int64_t>(span.size()) == expected);
}

}  // namespace

int64_t QuantizedMatrix::channel_tiles() const { return TileCount(channels); }
int64_t QuantizedMatrix::Bytes() const {
  return tiles.size() + scales.size() * static_cast<int64_t>(sizeof(float));
}
int64_t FloatMatrix::channel_tiles() const { return TileCount(channels); }
int64_t FloatMatrix::Bytes() const { return tiles.size() * static_cast<int64_t>(sizeof(float)); }

QuantizedMatrix MakeQuantizedMatrix(int bits, int64_t channels, int64_t k, int64_t group_size) {
  FPTQ_CHECK(bits == 4 || bits == 8);
  FPTQ_CHECK(channels > 0 && k > 0 && group_size > 0);
  FPTQ_CHECK(group_size % 32 == 0 && k % group_size == 0);
  QuantizedMatrix m;
  m.bits = bits;
  m.channels = channels;
  m.k = k;
  m.group_size = group_size;
  const int64_t padded = TileCount(channels) * kTileChannels;
  m.tiles.Resize(CheckedMultiply(padded, k / (8 / bits), "quantized matrix"));
  m.scales.Resize(CheckedMultiply(padded, k / group_size, "quantized matrix"));
  const uint8_t zero = bits == 4 ? 0x88 : 0x80;
  std::fill_n(m.tiles.data(), m.tiles.size(), zero);
  return m;
}

FloatMatrix MakeFloatMatrix(int64_t channels, int64_t k) {
  FPTQ_CHECK(channels > 0 && k > 0);
  FloatMatrix m;
  m.channels = channels;
  m.k = k;
  m.tiles.Resize(CheckedMultiply(TileCount(channels) * kTileChannels, k, "float matrix"));
  return m;
}

void PackRow(QuantizedMatrix& matrix, int64_t channel, std::span<const int8_t> q,
             std::span<const float> scales) {
  FPTQ_CHECK(channel >= 0 && channel < matrix.channels);
  CheckSize(q, matrix.k);
  CheckSize(scales, matrix.k / matrix.group_size);
  for (int64_t k = 0; k < matrix.k; ++k) {
    uint8_t& byte = matrix.tiles[ByteIndex(matrix, channel, k)];
    const int value = q[static_cast<size_t>(k)];
    if (matrix.bits == 8) {
      byte = static_cast<uint8_t>(value + 128);
    } else if (IsHighNibble(k)) {
      byte = static_cast<uint8_t>((byte & 0x0f) | (value + 8) << 4);
    } else {
      byte = static_cast<uint8_t>((byte & 0xf0) | (value + 8));
    }
  }
  for (int64_t g = 0; g < matrix.k / matrix.group_size; ++g) {
    matrix.scales[ScaleIndex(matrix, channel, g)] = scales[static_cast<size_t>(g)];
  }
}

void UnpackRow(const QuantizedMatrix& matrix, int64_t channel, std::span<int8_t> q,
               std::span<float> scales) {
  FPTQ_CHECK(channel >= 0 && channel < matrix.channels);
  CheckSize(q, matrix.k);
  CheckSize(scales, matrix.k / matrix.group_size);
  for (int64_t k = 0; k < matrix.k; ++k) {
    const int byte = matrix.tiles[ByteIndex(matrix, channel, k)];
    const int value = matrix.bits == 8 ? byte - 128 : (IsHighNibble(k) ? byte >> 4 : byte & 15) - 8;
    q[static_cast<size_t>(k)] = static_cast<int8_t>(value);
  }
  for (int64_t g = 0; g < matrix.k / matrix.group_size; ++g) {
    scales[static_cast<size_t>(g)] = matrix.scales[ScaleIndex(matrix, channel, g)];
  }
}

void PackRow(FloatMatrix& matrix, int64_t channel, std::span<const float> row) {
  FPTQ_CHECK(channel >= 0 && channel < matrix.channels);
  CheckSize(row, matrix.k);
  for (int64_t k = 0; k < matrix.k; ++k) {
    matrix.tiles[FloatIndex(matrix, channel, k)] = row[static_cast<size_t>(k)];
  }
}

void UnpackRow(const FloatMatrix& matrix, int64_t channel, std::span<float> row) {
  FPTQ_CHECK(channel >= 0 && channel < matrix.channels);
  CheckSize(row, matrix.k);
  for (int64_t k = 0; k < matrix.k; ++k) {
    row[static_cast<size_t>(k)] = matrix.tiles[FloatIndex(matrix, channel, k)];
  }
}

void PackRowInt8(QuantizedMatrix& matrix, int64_t channel, std::span<const float> row) {
  FPTQ_CHECK(matrix.bits == 8 && matrix.group_size == matrix.k);
  CheckSize(row, matrix.k);
  float absmax = 0;
  for (float x : row) absmax = std::max(absmax, std::fabs(x));
  const float scale = absmax > 0 ? absmax / 127 : 1;
  std::vector<int8_t> q(row.size());
  for (size_t i = 0; i < row.size(); ++i) {
    q[i] = static_cast<int8_t>(std::clamp(std::nearbyint(row[i] / scale), -127.0f, 127.0f));
  }
  PackRow(matrix, channel, q, {&scale, 1});
}

}  // namespace fptq
