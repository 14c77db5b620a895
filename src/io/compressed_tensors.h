// The layouts of quantized folders: compressed-tensors' `pack-quantized` and `int-quantized`
// (docs/file_format.md).
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/regex.h"

namespace fptq {

enum class ActivationQuantization {
  kNone,          // float activations
  kDynamicToken,  // int8, scale max|x| / 127.5 of each row
  kStaticTensor,  // int8, the scale stored in MODULE.input_scale
};

// How the integers of a linear are stored.
enum class WeightStorage {
  kPacked,  // weight_packed, int32 words: pack-quantized
  kInt8,    // weight, int8: int-quantized and naive-quantized
  kFloat,   // weight, float: rounded when it is read
  kGptq,    // qweight, int32 words, and zero points less one (gptq_awq.h)
  kGptqV2,  // the same with the zero points themselves
  kAwq,     // qweight in AWQ's order
};

// How a linear is quantized: integer weights in groups along the input dimension, w = (q - zero
// point) * scale, scales of either sign; and its input activations.
struct LinearQuantization {
  int64_t group_size = 0;  // a multiple of 32 if the activations are integers; kWholeRow
  ActivationQuantization activations = ActivationQuantization::kNone;
  int weight_bits = 4;    // 4: q in -8..7; 8: q in -128..127
  bool symmetric = true;  // the zero points are 0
  WeightStorage storage = WeightStorage::kPacked;
  bool per_tensor = false;  // kWholeRow, and all rows have one scale
  bool frozen = false;      // quantization_status: the weights may be float all the same

  static constexpr int64_t kWholeRow = 0;
  bool operator==(const LinearQuantization&) const = default;
};

// What of others' integers runs here, for error messages.
extern const char* const kSupportedQuantizations;

// Which linears are quantized, and how: `quantization_config` of config.json, here in
// compressed-tensors' terms.
class QuantizationConfig {
 public:
  explicit QuantizationConfig(std::string name) : name_(std::move(name)) {}

  // `where` names the file. Error naming the field for whatever we cannot run: other formats, bits,
  // types, strategies.
  static QuantizationConfig Parse(const Json& quantization_config, std::string_view where);

  // The linear of this name is quantized so.
  void Add(std::string module, const LinearQuantization& quantization) {
    names_.insert_or_assign(std::move(module), quantization);
  }

  // "compressed-tensors pack-quantized", "gptq_v2", ...
  const std::string& name() const { return name_; }

  // nullopt: the linear is float. As in compressed-tensors an exact name goes before a "re:..."
  // target, and that before the class name "Linear"; whatever `ignore` matches is float.
  std::optional<LinearQuantization> Find(std::string_view module) const;

 private:
  void AddTarget(const std::string& target, const LinearQuantization& quantization,
                 const std::string& where);
  void AddIgnored(const std::string& target, const std::string& where);

  std::string name_;
  std::map<std::string, LinearQuantization, std::less<>> names_;
  std::map<std::string, std::pair<Regex, LinearQuantization>> patterns_;  // by text
  std::optional<LinearQuantization> linear_;                              // class name "Linear"
  std::set<std::string, std::less<>> ignored_names_;
  std::vector<Regex> ignored_patterns_;
};

// The `quantization_config` of these modules, packed or of int8; `ignore` are those that stay
// float. Explicit names, a config group for each distinct LinearQuantization in order of
// appearance.
Json CompressedTensorsJson(std::span<const std::pair<std::string, LinearQuantization>> linears,
                           std::span<const std::string> ignore);

// One row: q of 4 or 8 bits, [k] <-> unsigned fields q + 2^(bits - 1), the lowest first, 32 / bits
// in each little-endian int32, [k * bits / 32].
void PackIntegers(int bits, std::span<const int8_t> q, std::span<int32_t> packed);
void UnpackIntegers(int bits, std::span<const int32_t> packed, std::span<int8_t> q);

}  // namespace fptq
