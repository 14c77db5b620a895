#include "io/packed_linear.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <initializer_list>
#include <numeric>
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

// [K]: the inputs sorted by the group that the tensor gives each; empty if they are sorted already,
// or if there is no such tensor. Error unless each group has as many.
std::vector<int32_t> ReadInputOrder(const Checkpoint& checkpoint, const std::string& name,
                                    int64_t k, int64_t group_size) {
  if (!checkpoint.Contains(name)) return {};
  const TensorView& tensor = checkpoint.Get(name, std::array{k});
  CheckType(checkpoint, name, tensor.type, {DataType::kI32});
  std::vector<int32_t> group_of(static_cast<size_t>(k)), order(group_of.size());
  std::memcpy(group_of.data(), tensor.bytes.data(), tensor.bytes.size());
  std::vector<int64_t> sizes(static_cast<size_t>(k / group_size));
  for (const int32_t group : group_of) {
    if (group < 0 || group >= std::ssize(sizes)) {
      throw Error("{}: tensor '{}': expected groups from 0 to {}, found {}",
                  checkpoint.path().string(), name, std::ssize(sizes) - 1, group);
    }
    ++sizes[static_cast<size_t>(group)];
  }
  const auto odd = std::ranges::find_if(sizes, [&](int64_t size) { return size != group_size; });
  if (odd != sizes.end()) {
    throw Error("{}: tensor '{}': expected {} inputs in each group, found {} in group {}",
                checkpoint.path().string(), name, group_size, *odd, odd - sizes.begin());
  }
  if (std::ranges::is_sorted(group_of)) return {};
  std::iota(order.begin(), order.end(), 0);
  std::ranges::stable_sort(order, {},
                           [&](int32_t input) { return group_of[static_cast<size_t>(input)]; });
  return order;
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

// Of GPTQ and AWQ, whose symmetric integers have zero points, too: all of them in the middle.
bool AllZeroPointsAreZero(const PackedLinear& linear) {
  const int bits = linear.quantization.weight_bits;
  const uint32_t less_one = linear.quantization.storage == WeightStorage::kGptq ? 1 : 0;
  const uint32_t middle = (1u << (bits - 1)) - less_one;
  uint32_t expected = 0;
  for (int field = 0; field < 32; field += bits) expected |= middle << field;
  const std::span<const std::byte> bytes = linear.zero_points.bytes;
  for (size_t i = 0; i < bytes.size(); i += sizeof(expected)) {
    uint32_t word;
    std::memcpy(&word, &bytes[i], sizeof(word));
    if (word != expected) return false;
  }
  return true;
}

// Weights, scales and zero points of GPTQ and AWQ.
void GetColumns(const Checkpoint& checkpoint, const std::string& name, PackedLinear& linear) {
  const int bits = linear.quantization.weight_bits;
  const bool awq = linear.quantization.storage == WeightStorage::kAwq;
  if ((awq ? linear.channels : linear.k) * bits % 32 != 0 || linear.channels * bits % 32 != 0) {
    throw Error("{}: {}: expected channels and inputs that fill words of 32 bits, found {} and {}",
                checkpoint.path().string(), name, linear.channels, linear.k);
  }
  const int64_t channel_words = Words(linear.channels, bits);
  const auto get = [&](const char* suffix, int64_t rows, int64_t columns,
                       std::initializer_list<DataType> types) {
    const TensorView& tensor = checkpoint.Get(name + suffix, std::array{rows, columns});
    CheckType(checkpoint, name + suffix, tensor.type, types);
    return tensor;
  };
  linear.weights = awq ? get(".qweight", linear.k, channel_words, {DataType::kI32})
                       : get(".qweight", Words(linear.k, bits), linear.channels, {DataType::kI32});
  linear.zero_points = get(".qzeros", linear.groups(), channel_words, {DataType::kI32});
  linear.scales = get(".scales", linear.groups(), linear.channels, kFloatTypes);
  linear.quantization.symmetric = AllZeroPointsAreZero(linear);
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
  try {
    if (linear.columns()) {
      GetColumns(checkpoint, name, linear);
      linear.input_order = ReadInputOrder(checkpoint, name + ".g_idx", k, linear.group_size);
    } else {
      GetWeights(checkpoint, name, linear);
      GetScales(checkpoint, name, linear);
      linear.input_order = ReadInputOrder(checkpoint, name + ".weight_g_idx", k, linear.group_size);
    }
  } catch (const Error& error) {
    throw Error("{}; quantization_config says that {} is quantized to {} bits, in groups of {}",
                error.what(), name, quantization.weight_bits, linear.group_size);
  }
  if (!linear.input_order.empty() && linear.quantization.storage == WeightStorage::kFloat) {
    throw Error("{}: {}: expected integers where groups are in activation order, found floats",
                checkpoint.path().string(), name);
  }
  if (quantization.activations == ActivationQuantization::kStaticTensor) {
    linear.input_scale = ReadInputScale(checkpoint, name + ".input_scale");
  }
  return linear;
}

bool PackedLinear::columns() const {
  return quantization.storage == WeightStorage::kGptq ||
         quantization.storage == WeightStorage::kGptqV2 ||
         quantization.storage == WeightStorage::kAwq;
}

// The field of a channel in a row of words that are packed along the channels.
uint32_t PackedLinear::Field(const TensorView& words, int64_t row, int64_t channel) const {
  const int bits = quantization.weight_bits;
  const int64_t fields = 32 / bits;
  uint32_t word = 0;
  std::memcpy(&word, words.bytes.data() + (row * words.shape[1] + channel / fields) * 4, 4);
  int64_t field = channel % fields;
  if (quantization.storage == WeightStorage::kAwq) field = field / 2 + field % 2 * 4;
  return word >> (field * bits) & ((1u << bits) - 1);
}

void PackedLinear::ReadColumn(int64_t channel, std::span<int8_t> q) const {
  const int bits = quantization.weight_bits;
  const int half = 1 << (bits - 1);
  if (quantization.storage == WeightStorage::kAwq) {
    for (int64_t i = 0; i < k; ++i) {
      q[static_cast<size_t>(i)] =
          static_cast<int8_t>(static_cast<int>(Field(weights, i, channel)) - half);
    }
    return;
  }
  std::vector<int32_t> words(static_cast<size_t>(Words(k, bits)));
  for (size_t i = 0; i < words.size(); ++i) {
    std::memcpy(&words[i],
                weights.bytes.data() + (static_cast<int64_t>(i) * channels + channel) * 4, 4);
  }
  UnpackIntegers(bits, words, q);
}

int16_t PackedLinear::ReadZeroPoint(int64_t channel, int64_t group) const {
  if (columns()) {
    const int stored = static_cast<int>(Field(zero_points, group, channel));
    const int less_one = quantization.storage == WeightStorage::kGptq ? 1 : 0;
    return static_cast<int16_t>(stored + less_one - (1 << (quantization.weight_bits - 1)));
  }
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
  return static_cast<int16_t>(static_cast<int>(field) - (1 << (bits - 1)));
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

void PackedLinear::RoundFloats(int64_t channel, std::span<const int16_t> zeros,
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

void PackedLinear::ReadRow(int64_t channel, std::span<int8_t> q, std::span<int16_t> zeros,
                           std::span<float> scales_out) const {
  FPTQ_CHECK(channel >= 0 && channel < channels && std::ssize(q) == k);
  FPTQ_CHECK(std::ssize(scales_out) == groups() && std::ssize(zeros) == groups());
  if (columns()) {
    for (int64_t group = 0; group < groups(); ++group) {
      DequantizeRange(scales, group * channels + channel,
                      scales_out.subspan(static_cast<size_t>(group), 1));
    }
  } else {
    DequantizeRange(scales, quantization.per_tensor ? 0 : channel * groups(), scales_out);
  }
  CheckFinite(scales_out, module + (columns() ? ".scales" : ".weight_scale"));
  for (int64_t group = 0; group < groups(); ++group) {
    zeros[static_cast<size_t>(group)] =
        quantization.symmetric ? int16_t{0} : ReadZeroPoint(channel, group);
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
    case WeightStorage::kGptq:
    case WeightStorage::kGptqV2:
    case WeightStorage::kAwq:
      ReadColumn(channel, q);
      break;
  }
  if (input_order.empty()) return;
  const std::vector<int8_t> as_stored(q.begin(), q.end());
  for (size_t i = 0; i < q.size(); ++i) q[i] = as_stored[static_cast<size_t>(input_order[i])];
}

void PackedLinear::DequantizeRow(int64_t channel, std::span<float> out) const {
  const PackedRow row(*this, channel);
  std::vector<float> ordered(input_order.empty() ? 0 : out.size());
  float* values = input_order.empty() ? out.data() : ordered.data();
  for (size_t group = 0; group < row.scales.size(); ++group) {
    const size_t first = group * static_cast<size_t>(group_size);
    const int zero = row.zeros[group];
    const float scale = row.scales[group];
    for (size_t i = first; i < first + static_cast<size_t>(group_size); ++i) {
      values[i] = scale * static_cast<float>(row.q[i] - zero);
    }
  }
  for (size_t i = 0; i < ordered.size(); ++i) out[static_cast<size_t>(input_order[i])] = values[i];
}

}  // namespace fptq
