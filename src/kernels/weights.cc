#include "kernels/weights.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <cstring>
#include <vector>

#include "base/error.h"
#include "kernels/dispatch.h"

namespace fptq {
namespace {

int64_t TileCount(int64_t channels) { return (channels + kTileChannels - 1) / kTileChannels; }

// The k's that a word of 4 bytes of a channel holds; words of a channel lie kWordStride bytes
// apart.
int64_t WordLength(const QuantizedMatrix& m) { return m.bits == 4 ? 8 : 4; }
constexpr int64_t kWordStride = kTileChannels * 4;

// Index of the first byte of the channel's first word.
int64_t FirstWord(const QuantizedMatrix& m, int64_t channel) {
  const int64_t words = channel / kTileChannels * (m.k / WordLength(m)) * kTileChannels;
  return (words + channel % kTileChannels) * 4;
}

// Eight bytes of -8..7 <-> the word: byte j has k = j in its low nibble and k = 4 + j in its high
// one, as q + 8. Adding 8 to a nibble is flipping its top bit.
constexpr uint64_t kTopBits = 0x0808'0808'0808'0808, kNibbles = 0x0f0f'0f0f'0f0f'0f0f;
uint32_t PackWord4(uint64_t q) {
  const uint64_t nibbles = (q ^ kTopBits) & kNibbles;
  return static_cast<uint32_t>(nibbles | nibbles >> 28);
}
uint64_t UnpackWord4(uint32_t word) {
  const uint64_t nibbles = (word | uint64_t{word} << 28) & kNibbles;
  constexpr uint64_t kSigns = 0x8080'8080'8080'8080;  // keep a borrow from the next byte
  return ((nibbles | kSigns) - kTopBits) ^ kSigns;
}

// Four bytes of -128..127 <-> q + 128.
constexpr uint32_t kOffset8 = 0x8080'8080;

template <typename T>
T LoadAs(const void* p) {
  T value;
  std::memcpy(&value, p, sizeof(value));
  return value;
}
template <typename T>
void StoreAs(void* p, T value) {
  std::memcpy(p, &value, sizeof(value));
}

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
  return tiles.size() + scales.size() * static_cast<int64_t>(sizeof(float)) + zero_points.size();
}
int64_t FloatMatrix::channel_tiles() const { return TileCount(channels); }
int64_t FloatMatrix::Bytes() const { return tiles.size() * static_cast<int64_t>(sizeof(float)); }

QuantizedMatrix MakeQuantizedMatrix(int bits, int64_t channels, int64_t k, int64_t group_size,
                                    Arena* arena, bool symmetric) {
  FPTQ_CHECK(bits == 4 || (bits == 8 && symmetric));
  FPTQ_CHECK(channels > 0 && k > 0 && group_size > 0);
  FPTQ_CHECK(group_size % kMinGroupSize == 0 && group_size <= kMaxGroupSize);
  FPTQ_CHECK(k % group_size == 0);
  QuantizedMatrix m;
  m.bits = bits;
  m.channels = channels;
  m.k = k;
  m.group_size = group_size;
  const int64_t padded = TileCount(channels) * kTileChannels;
  m.tiles = MakeBuffer<uint8_t>(CheckedMultiply(padded, k / (8 / bits), "quantized matrix"), arena);
  const int64_t groups = CheckedMultiply(padded, k / group_size, "quantized matrix");
  m.scales = MakeBuffer<float>(groups, arena);
  if (!symmetric) m.zero_points = MakeBuffer<int8_t>(groups, arena);
  // The last tile may have channels that PackRow does not fill. The others are first touched by the
  // threads that do.
  const uint8_t zero = bits == 4 ? 0x88 : 0x80;
  const int64_t tile_bytes = kTileChannels * k * bits / 8;
  std::fill_n(m.tiles.data() + m.tiles.size() - tile_bytes, tile_bytes, zero);
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
             std::span<const float> scales, std::span<const int16_t> zeros) {
  FPTQ_CHECK(channel >= 0 && channel < matrix.channels);
  CheckSize(q, matrix.k);
  CheckSize(scales, matrix.k / matrix.group_size);
  if (std::memchr(q.data(), -128, q.size()) != nullptr) std::atomic_ref(matrix.full_range) = true;
  uint8_t* word = matrix.tiles.data() + FirstWord(matrix, channel);
  for (int64_t k = 0; k < matrix.k; k += WordLength(matrix), word += kWordStride) {
    const int8_t* from = q.data() + k;
    StoreAs(word, matrix.bits == 4 ? PackWord4(LoadAs<uint64_t>(from))
                                   : LoadAs<uint32_t>(from) ^ kOffset8);
  }
  for (int64_t g = 0; g < matrix.k / matrix.group_size; ++g) {
    matrix.scales[ScaleIndex(matrix, channel, g)] = scales[static_cast<size_t>(g)];
  }
  if (matrix.zero_points.size() == 0) return;
  CheckSize(zeros, matrix.k / matrix.group_size);
  for (int64_t g = 0; g < matrix.k / matrix.group_size; ++g) {
    const int16_t zero = zeros[static_cast<size_t>(g)];
    FPTQ_CHECK(zero >= -8 && zero <= 8);
    matrix.zero_points[ScaleIndex(matrix, channel, g)] = static_cast<int8_t>(zero);
  }
}

void UnpackRow(const QuantizedMatrix& matrix, int64_t channel, std::span<int8_t> q,
               std::span<float> scales) {
  FPTQ_CHECK(channel >= 0 && channel < matrix.channels);
  CheckSize(q, matrix.k);
  CheckSize(scales, matrix.k / matrix.group_size);
  const uint8_t* word = matrix.tiles.data() + FirstWord(matrix, channel);
  for (int64_t k = 0; k < matrix.k; k += WordLength(matrix), word += kWordStride) {
    int8_t* to = q.data() + k;
    if (matrix.bits == 4) {
      StoreAs(to, UnpackWord4(LoadAs<uint32_t>(word)));
    } else {
      StoreAs(to, LoadAs<uint32_t>(word) ^ kOffset8);
    }
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
  // In lanes, of which compilers make vectors; k is a multiple of them.
  std::array<float, kTileChannels> largest = {};
  for (size_t i = 0; i < row.size(); i += largest.size()) {
    for (size_t lane = 0; lane < largest.size(); ++lane) {
      const float x = std::fabs(row[i + lane]);
      largest[lane] = largest[lane] < x ? x : largest[lane];
    }
  }
  const float absmax = *std::ranges::max_element(largest);
  float scale = absmax / 127;
  if (scale == 0) scale = 1;  // zeros, or denormals that vanish in the division
  // Within +-127 but for the rounding of the division and, where it is a denormal, of the scale.
  thread_local std::vector<int8_t> q;
  q.resize(row.size());
  int32_t sum = 0;
  Kernels().quantize_row({.x = row.data(),
                          .n = matrix.k,
                          .group_size = matrix.k,
                          .static_scale = scale,
                          .one_scale = true,
                          .q = q.data(),
                          .scales = &scale,
                          .group_sums = &sum});
  for (int8_t& x : q) x = x == -128 ? int8_t{-127} : x;
  PackRow(matrix, channel, q, {&scale, 1});
}

}  // namespace fptq
