#include "io/gptq_awq.h"

#include <string>

#include "base/error.h"
#include "io/checkpoint.h"

namespace fptq {
namespace {

constexpr const char* kSupported =
    "gptq (formats gptq and gptq_v2, 4 or 8 bits) and awq (version gemm, 4 bits)";

// Older files do not say.
std::string Method(const JsonFields& fields) {
  return fields.StringOr("quant_method", fields.Has("zero_point") ? "awq" : "gptq");
}

LinearQuantization ParseGptq(const JsonFields& fields) {
  LinearQuantization how;
  how.weight_bits = static_cast<int>(fields.Int("bits", 1, 64));
  if (how.weight_bits != 4 && how.weight_bits != 8) {
    throw Error("{}: bits: expected 4 or 8, found {}", fields.where(), how.weight_bits);
  }
  const std::string format =
      fields.StringOr("checkpoint_format", fields.StringOr("format", "gptq"));
  if (format != "gptq" && format != "gptq_v2") {
    throw Error("{}: checkpoint_format: '{}' is not supported; supported: {}", fields.where(),
                format, kSupported);
  }
  how.storage = format == "gptq" ? WeightStorage::kGptq : WeightStorage::kGptqV2;
  if (fields.Has("dynamic") && !fields.Value("dynamic").empty()) {
    throw Error("{}: dynamic: expected no settings of single modules, found some", fields.where());
  }
  return how;
}

LinearQuantization ParseAwq(const JsonFields& fields) {
  LinearQuantization how;
  const int64_t bits = fields.IntOr("bits", fields.IntOr("w_bit", 4, 1, 64), 1, 64);
  if (bits != 4) throw Error("{}: bits: expected 4, found {}", fields.where(), bits);
  if (const std::string version = fields.StringOr("version", "gemm");
      version != "gemm" && version != "GEMM") {
    throw Error("{}: version: '{}' is not supported; supported: {}", fields.where(), version,
                kSupported);
  }
  if (!fields.BoolOr("zero_point", true)) {
    throw Error("{}: zero_point: expected true, found false", fields.where());
  }
  how.storage = WeightStorage::kAwq;
  return how;
}

}  // namespace

bool IsGptqOrAwq(const Json& quantization_config, std::string_view where) {
  const std::string method = Method(JsonFields(quantization_config, std::string(where)));
  return method == "gptq" || method == "awq";
}

QuantizationConfig ParseGptqOrAwq(const Json& quantization_config, const Checkpoint& checkpoint,
                                  std::string_view where) {
  const JsonFields fields(quantization_config, std::string(where));
  LinearQuantization how = Method(fields) == "gptq" ? ParseGptq(fields) : ParseAwq(fields);
  constexpr int64_t kMaxGroup = int64_t{1} << 30;
  const int64_t group_size =
      fields.IntOr("group_size", fields.IntOr("q_group_size", 128, -1, kMaxGroup), -1, kMaxGroup);
  if (group_size == 0) {
    throw Error("{}: group_size: expected -1 or a positive one, found 0", fields.where());
  }
  how.group_size = group_size < 0 ? LinearQuantization::kWholeRow : group_size;
  how.symmetric = false;  // the zero points are there, be they all the same or not
  QuantizationConfig config(how.storage == WeightStorage::kAwq    ? "awq"
                            : how.storage == WeightStorage::kGptq ? "gptq"
                                                                  : "gptq_v2");
  constexpr std::string_view kSuffix = ".qweight";
  for (const auto& [name, tensor] : checkpoint.tensors()) {
    if (!name.ends_with(kSuffix)) continue;
    config.Add(name.substr(0, name.size() - kSuffix.size()), how);
  }
  return config;
}

}  // namespace fptq
