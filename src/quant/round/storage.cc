#include "quant/round/storage.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "base/error.h"
#include "base/half.h"
#include "io/checkpoint.h"

namespace fptq {
namespace {

static_assert(std::endian::native == std::endian::little);

}  // namespace

float RoundToStored(float value, DataType dtype) {
  if (dtype == DataType::kF16) return F16ToF32(F32ToF16(value));
  if (dtype == DataType::kBF16) return BF16ToF32(F32ToBF16(value));
  FPTQ_CHECK(dtype == DataType::kF32);
  return value;
}

float LargestStored(DataType dtype) {
  if (dtype == DataType::kF16) return 65504;
  return dtype == DataType::kBF16 ? 0x1.fep127f : 0x1.fffffep127f;
}

float SmallestNormalStored(DataType dtype) {
  return dtype == DataType::kF16 ? 0x1p-14f : 0x1p-126f;
}

float RoundToStoredScale(float scale, DataType dtype) {
  const float smallest = dtype == DataType::kF16 ? 0x1p-24f : 0x1p-126f;
  const float stored = std::abs(RoundToStored(scale, dtype));
  return std::copysign(std::clamp(stored, smallest, LargestStored(dtype)), scale);
}

std::vector<std::byte> StoreFloats(std::span<const float> values, DataType dtype,
                                   std::string_view where) {
  CheckFinite(values, where, LargestStored(dtype));
  if (dtype == DataType::kF32) {
    const std::span<const std::byte> bytes = std::as_bytes(values);
    return {bytes.begin(), bytes.end()};
  }
  FPTQ_CHECK(dtype == DataType::kF16 || dtype == DataType::kBF16);
  const auto convert = dtype == DataType::kF16 ? F32ToF16 : F32ToBF16;
  std::vector<std::byte> bytes(values.size() * 2);
  for (size_t i = 0; i < values.size(); ++i) {
    const uint16_t bits = convert(values[i]);
    std::memcpy(bytes.data() + 2 * i, &bits, 2);
  }
  return bytes;
}

}  // namespace fptq
