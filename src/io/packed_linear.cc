#include "io/packed_linear.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <initializer_list>
#include <vector>

#include "base/error.h"

namespace fptq {
namespace {

static_assert(std::endian::native == std::endian::little);

float ReadInputScale(const Checkpoint& checkpoint, const std::string& name) {
  const TensorView& tensor = checkpoint.Get(name);
  if (tensor.ElementCount() != 1) {
    throw Error("{}: tensor '{}': expected one element, found shape {}", checkpoint.path().string(),
                name, ShapeString(tensor.shape));
  }
  float scale = 0;
  DequantizeRange(tensor, 0, {&scale, 1});
  if (!std::isfinite(scale) || scale <= 0) {
    throw Error("{}: tensor '{}': expected a positive scale, found {}", checkpoint.path().string(),
                name, scale);
  }
  return scale;
}

void CheckType(const Checkpoint& checkpoint, std::string_view name, DataType found,
               std::initializer_list<DataType> expected) {
  if (std::find(expected.begin(), expected.end(), found) != expected.end()) return;
  std::string names;
  for (const DataType type : expected) {
    names += (names.empty() ? "" : ", ") + std::string(DataTypeName(type));
  }
  throw Error("{}: tensor '{}': expected type {}, found {}", checkpoint.path().string(), name,
              names, DataTypeName(found));
}

// How many int32 hold `count` integers of `bits`.
int64_t Words(int64_t count, int bits) { return (count * bits + 31) / 32; }

// MODULE.weight_shape repeats [N, K]: the last word of a row may not be full.
void CheckWeightShape(const Checkpoint& checkpoint, const std::string& name, int64_t channels,
                      int64_t k) {
  const TensorView& tensor = checkpoint.Get(name, std::array<int64_t, 1>{2});
  CheckType(checkpoint, name, tensor.type, {DataType::kI64});
  int64_t found[2];
  std::memcpy(found, tensor.bytes.data(), sizeof(found));
  if (found[0] != channels || found[1] != k) {
    throw Error("{}: tensor '{}': expected the values {}, found {}", checkpoint.path().string(),
                name, ShapeString(std::array{channels, k}), ShapeString(found));
  }
}

constexpr std::initializer_list<DataType> kFloatTypes = {DataType::kF32, DataType::kF16,
                                                         DataType::kBF16};

void GetWeights(const Checkpoint& checkpoint, const std::string& name, PackedLinear& linear) {
  LinearQuantization& how = linear.quantization;
  const std::string plain = name + ".weight";
  const bool is_float =
      how.frozen && checkpoint.Contains(plain) && checkpoint.Get(plain).type != DataType::kI8;
  if (is_float) how.storage = WeightStorage::kFloat;
  if (how.storage != WeightStorage::kPacked) {
    linear.weights = checkpoint.Get(plain, std::array{linear.channels, linear.k});
    CheckType(checkpoint, plain, linear.weights.type,
              is_float ? kFloatTypes : std::initializer_list<DataType>{DataType::kI8});
    return;
  }
  linear.weights = checkpoint.Get(name + ".weight_packed",
                                  std::array{linear.channels, Words(linear.k, how.weight_bits)});
  CheckType(checkpoint, name + ".weight_packed", linear.weights.type, {DataType::kI32});
  CheckWeightShape(checkpoint, name + ".weight_shape", linear.channels, linear.k);
}

void GetScales(const Checkpoint& checkpoint, const std::string& name, PackedLinear& linear) {
  const LinearQuantization& how = linear.quantization;
  const std::string scale_name = name + ".weight_scale";
  linear.scales = how.per_tensor
                      ? checkpoint.Get(scale_name)
                      : checkpoint.Get(scale_name, std::array{linear.channels, linear.groups()});
  CheckType(checkpoint, scale_name, linear.scales.type, kFloatTypes);
  if (how.per_tensor && linear.scales.ElementCount() != 1) {
    throw Error("{}: tensor '{}': expected one element, found shape {}", checkpoint.path().string(),
                scale_name, ShapeString(linear.scales.shape));
  }
  if (how.symmetric) return;
  const std::string zero_name = name + ".weight_zero_point";
  if (how.storage != WeightStorage::kPacked) {
    linear.zero_points = checkpoint.Get(zero_name, linear.scales.shape);
    CheckType(checkpoint, zero_name, linear.zero_points.type, {DataType::kI8});
    return;
  }
  linear.zero_points = checkpoint.Get(
      zero_name, std::array{Words(linear.channels, how.weight_bits), linear.groups()});
  CheckType(checkpoint, zero_name, linear.zero_points.type, {DataType::kI32});
}

}  // namespace

PackedLinear GetPackedLinear(const Checkpoint& checkpoint, std::string_view module,
                             const LinearQuantization& quantization, int64_t channels, int64_t k) {
  const std::string name(module);
  PackedLinear linear;
  linear.module = name;
  linear.channels = channels;
  linear.k = k;
  linear.quantization = quantization;
  const bool whole_row = quantization.group_size == LinearQuantization::kWholeRow;
  linear.group_size = whole_row ? k : quantization.group_size;
  if (k % linear.group_size != 0) {
    throw Error("{}: {}: expected a group size that divides {} inputs, found {}",
                checkpoint.path().string(), name, k, linear.group_size);
  }
  const bool integers = quantization.activations != ActivationQuantization::kNone;
  if (integers && linear.group_size % 32 != 0) {
    throw Error("{}: {}: expected a multiple of 32 inputs for 8-bit activations, found {}",
                checkpoint.path().string(), name, k);
  }
  // Only activation ordering has one, and its columns stand in another order.
  if (checkpoint.Contains(name + ".weight_g_idx")) {
    throw Error("{}: tensor '{}.weight_g_idx': groups in activation order are not supported",
                checkpoint.path().string(), name);
  }
  try {
    GetWeights(checkpoint, name, linear);
    GetScales(checkpoint, name, linear);
  } catch (const Error& error) {
    throw Error("{}; quantization_config says that {} is quantized to {} bits, in groups of {}",
                error.what(), name, quantization.weight_bits, linear.group_size);
  }
  if (quantization.activations == ActivationQuantization::kStaticTensor) {
    linear.input_scale = ReadInputScale(checkpoint, name + ".input_scale");
  }
  return linear;
}

int PackedLinear::integer_bits() const {
  if (quantization.symmetric) return quantization.weight_bits;
  return quantization.weight_bits == 4 ? 8 : 9;
}

int8_t PackedLinear::ReadZeroPoint(int64_t channel, int64_t group) const {
  if (quantization.storage != WeightStorage::kPacked) {
    const int64_t index = quantization.per_tensor ? 0 : channel * groups() + group;
    const auto zero = static_cast<int8_t>(zero_points.bytes[static_cast<size_t>(index)]);
    CheckRange({&zero, 1}, ".weight_zero_point");
    return zero;
  }
  const int bits = quantization.weight_bits;
  const int64_t fields = 32 / bits;
  uint32_t word = 0;
  std::memcpy(&word, zero_points.bytes.data() + (channel / fields * groups() + group) * 4, 4);
  const uint32_t field = word >> (channel % fields * bits) & ((1u << bits) - 1);
  return static_cast<int8_t>(static_cast<int>(field) - (1 << (bits - 1)));
}

void PackedLinear::CheckRange(std::span<const int8_t> q, std::string_view tensor) const {
  if (quantization.weight_bits == 8) return;
  const auto bad = std::ranges::find_if(q, [](int8_t x) { return x < -8 || x > 7; });
  if (bad != q.end()) {
    throw Error("{}{}: expected integers of 4 bits, found {}", module, tensor, *bad);
  }
}

void PackedLinear::UnpackWords(int64_t channel, std::span<int8_t> q) const {
  const int bits = quantization.weight_bits;
  // Tensors in a file need not be aligned.
  std::vector<int32_t> words(static_cast<size_t>(Words(k, bits)));
  const auto bytes = std::as_writable_bytes(std::span(words));
  std::ranges::copy(
      weights.bytes.subspan(static_cast<size_t>(channel) * bytes.size(), bytes.size()),
      bytes.begin());
  const size_t padded = words.size() * static_cast<size_t>(32 / bits);
  if (padded == q.size()) return UnpackIntegers(bits, words, q);
  std::vector<int8_t> all(padded);
  UnpackIntegers(bits, words, all);
  std::ranges::copy_n(all.begin(), std::ssize(q), q.begin());
}

void PackedLinear::RoundFloats(int64_t channel, std::span<const int8_t> zeros,
                               std::span<const float> scales_of_row, std::span<int8_t> q) const {
  std::vector<float> row(q.size());
  DequantizeRange(weights, channel * k, row);
  CheckFinite(row, module + ".weight");
  const float highest = quantization.weight_bits == 4 ? 7 : 127;
  for (size_t i = 0; i < row.size(); ++i) {
    const size_t group = i / static_cast<size_t>(group_size);
    const float scale = scales_of_row[group];
    const float zero = zeros[group];
    const float x = scale == 0 ? zero : row[i] / scale + zero;
    q[i] = static_cast<int8_t>(std::nearbyint(std::clamp(x, -highest - 1, highest)));
  }
}

void PackedLinear::ReadRow(int64_t channel, std::span<int8_t> q, std::span<int8_t> zeros,
                           std::span<float> scales_out) const {
  FPTQ_CHECK(channel >= 0 && channel < channels && std::ssize(q) == k);
  FPTQ_CHECK(std::ssize(scales_out) == groups() && std::ssize(zeros) == groups());
  DequantizeRange(scales, quantization.per_tensor ? 0 : channel * groups(), scales_out);
  CheckFinite(scales_out, module + ".weight_scale");
  for (int64_t group = 0; group < groups(); ++group) {
    zeros[static_cast<size_t>(group)] =
        quantization.symmetric ? int8_t{0} : ReadZeroPoint(channel, group);
  }
  switch (quantization.storage) {
    case WeightStorage::kPacked:
      UnpackWords(channel, q);
      break;
    case WeightStorage::kInt8:
      std::memcpy(q.data(), weights.bytes.data() + channel * k, q.size());
      CheckRange(q, ".weight");
      break;
    case WeightStorage::kFloat:
      RoundFloats(channel, zeros, scales_out, q);
      break;
  }
}

}  // namespace fptq
