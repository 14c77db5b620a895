#include "io/compressed_tensors.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <string_view>

#include "base/error.h"

namespace fptq {

const char* const kSupportedQuantizations =
    "compressed-tensors pack-quantized, int-quantized and naive-quantized, with integer weights of "
    "4 or 8 bits and float or symmetric 8-bit activations (static per tensor, or dynamic per "
    "token); gptq and awq";

namespace {

static_assert(std::endian::native == std::endian::little);

constexpr std::string_view kPackedFormat = "pack-quantized", kInt8Format = "int-quantized",
                           kMixedFormat = "mixed-precision";  // each group has its own
constexpr std::string_view kPatternPrefix = "re:";
constexpr std::string_view kLinearClass = "Linear";
// Of targets, and of those to ignore: each is matched with the name of each linear.
constexpr size_t kMaxPatterns = 1000;

void Expect(const JsonFields& fields, std::string_view name, std::string_view expected) {
  const std::string found = fields.StringOr(name, expected);
  if (found != expected) {
    throw Error("{}: {}: expected \"{}\", found \"{}\"", fields.where(), name, expected, found);
  }
}

void RequireNone(const JsonFields& fields, std::string_view name) {
  if (fields.Has(name) && !fields.Object(name).empty()) {
    throw Error("{}: {}: expected none, found one", fields.where(), name);
  }
}

// sparsity_config may only say that nothing is left out.
void RequireDense(const JsonFields& fields) {
  constexpr std::string_view kName = "sparsity_config";
  if (!fields.Has(kName) || fields.Object(kName).empty()) return;
  const JsonFields sparsity(fields.Object(kName), fmt::format("{}.{}", fields.where(), kName));
  if (const std::string format = sparsity.StringOr("format", "(none)"); format != "dense") {
    throw Error("{}: format: expected \"dense\", found \"{}\"", sparsity.where(), format);
  }
}

// Whether weights may not be compressed yet. Many a compressed folder says "frozen", too.
bool ParseFrozen(const JsonFields& fields) {
  const std::string status = fields.StringOr("quantization_status", "compressed");
  if (status != "compressed" && status != "frozen") {
    throw Error("{}: quantization_status: expected \"compressed\" or \"frozen\", found \"{}\"",
                fields.where(), status);
  }
  return status == "frozen";
}

// Returns num_bits of a group's weights or activations.
int ParseBits(const JsonFields& fields) {
  Expect(fields, "type", "int");
  return static_cast<int>(fields.IntOr("num_bits", 8, 1, 64));
}

// "group" says that the groups are of inputs that lie apart, as weight_g_idx has it; with "weight"
// and "static" they lie side by side.
void CheckOrder(const JsonFields& fields) {
  if (!fields.Has("actorder")) return;
  const std::string order = fields.String("actorder");
  if (order != "weight" && order != "static" && order != "group" && order != "dynamic") {
    throw Error(
        "{}: actorder: expected \"weight\", \"static\", \"group\" or \"dynamic\", found \"{}\"",
        fields.where(), order);
  }
}

// All but the activations.
LinearQuantization ParseWeights(const JsonFields& fields, WeightStorage storage) {
  LinearQuantization weights;
  weights.storage = storage;
  weights.weight_bits = ParseBits(fields);
  if (weights.weight_bits != 4 && weights.weight_bits != 8) {
    throw Error("{}: num_bits: expected 4 or 8, found {}", fields.where(), weights.weight_bits);
  }
  weights.symmetric = fields.BoolOr("symmetric", true);
  if (fields.BoolOr("dynamic", false)) {
    throw Error("{}: dynamic: expected false, found true", fields.where());
  }
  CheckOrder(fields);
  // compressed-tensors' own defaults: a group size makes "group", -1 "channel", none "tensor".
  const int64_t group_size = fields.IntOr("group_size", 0, -1, int64_t{1} << 30);
  const std::string strategy = fields.StringOr("strategy", group_size > 0    ? "group"
                                                           : group_size == 0 ? "tensor"
                                                                             : "channel");
  if (strategy == "group" && group_size > 0) {
    weights.group_size = group_size;
  } else if (strategy == "channel" || strategy == "tensor") {
    weights.group_size = LinearQuantization::kWholeRow;
    weights.per_tensor = strategy == "tensor";
  } else {
    throw Error(
        "{}: strategy: expected \"group\" with a group_size, \"channel\" or \"tensor\", found "
        "\"{}\" with {}",
        fields.where(), strategy, group_size);
  }
  return weights;
}

ActivationQuantization ParseActivations(const JsonFields& fields) {
  if (const int bits = ParseBits(fields); bits != 8) {
    throw Error("{}: num_bits: expected 8, found {}", fields.where(), bits);
  }
  if (!fields.BoolOr("symmetric", true)) {
    throw Error("{}: symmetric: expected true, found false", fields.where());
  }
  const std::string strategy = fields.String("strategy");
  const bool dynamic = fields.BoolOr("dynamic", false);
  if (strategy == "token" && dynamic) return ActivationQuantization::kDynamicToken;
  if (strategy == "tensor" && !dynamic) return ActivationQuantization::kStaticTensor;
  throw Error(
      "{}: expected strategy \"token\" and dynamic, or \"tensor\" and static; found \"{}\" and {}",
      fields.where(), strategy, dynamic ? "dynamic" : "static");
}

// "format" of a group or of the whole; nullopt if each group has its own.
std::optional<WeightStorage> ParseFormat(const JsonFields& fields) {
  const std::string format = fields.String("format");
  if (format == kPackedFormat) return WeightStorage::kPacked;
  if (format == kInt8Format || format == "naive-quantized") return WeightStorage::kInt8;
  if (format == kMixedFormat) return std::nullopt;
  throw Error("{}: format: '{}' is not supported; supported: {}", fields.where(), format,
              kSupportedQuantizations);
}

LinearQuantization ParseGroup(const JsonFields& fields, std::optional<WeightStorage> storage,
                              bool frozen) {
  if (fields.Has("format")) storage = ParseFormat(fields);
  if (!storage) throw Error("{}: format: expected one for this group, found none", fields.where());
  if (fields.Has("output_activations")) {
    throw Error("{}: output_activations: expected null, found a quantization", fields.where());
  }
  const JsonFields weights(fields.Object("weights"), fields.where() + ".weights");
  LinearQuantization quantization = ParseWeights(weights, *storage);
  quantization.frozen = frozen;
  if (!fields.Has("input_activations")) return quantization;
  quantization.activations = ParseActivations(
      JsonFields(fields.Object("input_activations"), fields.where() + ".input_activations"));
  if (quantization.group_size % 32 != 0) {
    throw Error("{}: group_size: expected a multiple of 32 for 8-bit activations, found {}",
                weights.where(), quantization.group_size);
  }
  if (!quantization.symmetric && quantization.weight_bits == 8) {
    throw Error("{}: symmetric: expected true for 8-bit weights and activations, found false",
                weights.where());
  }
  return quantization;
}

std::vector<std::string> ParseStrings(const JsonFields& fields, std::string_view name) {
  std::vector<std::string> strings;
  for (const Json& item : fields.Array(name)) {
    if (!item.is_string()) {
      throw Error("{}: {}: expected strings, found {}", fields.where(), name, item.type_name());
    }
    strings.push_back(item.get<std::string>());
  }
  return strings;
}

// `target` is "re:..." and comes after `count` others.
Regex ParsePattern(std::string_view target, size_t count, const std::string& where) {
  if (count >= kMaxPatterns) {
    throw Error("{}: expected at most {} regular expressions, found more", where, kMaxPatterns);
  }
  return {target.substr(kPatternPrefix.size()), where, RegexSyntax::kPython};
}

// A class name, not the name of a module: modules of linears have a dot or are "lm_head".
bool IsClassName(std::string_view target) {
  return !target.empty() && target.front() >= 'A' && target.front() <= 'Z' &&
         target.find('.') == std::string_view::npos;
}

Json WeightsJson(const LinearQuantization& quantization) {
  Json json = {{"num_bits", quantization.weight_bits},
               {"type", "int"},
               {"symmetric", quantization.symmetric},
               {"strategy", "channel"},
               {"dynamic", false}};
  if (quantization.group_size != LinearQuantization::kWholeRow) {
    json["strategy"] = "group";
    json["group_size"] = quantization.group_size;
  }
  return json;
}

Json ActivationsJson(ActivationQuantization activations) {
  if (activations == ActivationQuantization::kNone) return nullptr;
  const bool dynamic = activations == ActivationQuantization::kDynamicToken;
  return {{"num_bits", 8},
          {"type", "int"},
          {"symmetric", true},
          {"strategy", dynamic ? "token" : "tensor"},
          {"dynamic", dynamic}};
}

}  // namespace

void QuantizationConfig::AddTarget(const std::string& target,
                                   const LinearQuantization& quantization,
                                   const std::string& where) {
  if (target.starts_with(kPatternPrefix)) {
    patterns_.insert_or_assign(
        target, std::pair(ParsePattern(target, patterns_.size(), where), quantization));
  } else if (target == kLinearClass) {
    linear_ = quantization;
  } else if (IsClassName(target)) {
    throw Error("{}: targets: expected module names, \"re:...\" or \"Linear\", found \"{}\"", where,
                target);
  } else {
    names_[target] = quantization;
  }
}

void QuantizationConfig::AddIgnored(const std::string& target, const std::string& where) {
  if (target.starts_with(kPatternPrefix)) {
    ignored_patterns_.push_back(ParsePattern(target, ignored_patterns_.size(), where));
  } else {
    ignored_names_.insert(target);
  }
}

QuantizationConfig QuantizationConfig::Parse(const Json& quantization_config,
                                             std::string_view where) {
  const JsonFields fields(quantization_config, std::string(where) + ": quantization_config");
  if (const std::string method = fields.StringOr("quant_method", "(none)");
      method != "compressed-tensors") {
    throw Error("{}: quant_method: '{}' is not supported; supported: {}", fields.where(), method,
                kSupportedQuantizations);
  }
  const std::optional<WeightStorage> storage = ParseFormat(fields);
  RequireNone(fields, "kv_cache_scheme");
  RequireNone(fields, "transform_config");
  RequireDense(fields);

  const bool frozen = ParseFrozen(fields);
  QuantizationConfig config("compressed-tensors " + fields.String("format"));
  for (const auto& [name, group] : fields.Object("config_groups").items()) {
    const JsonFields group_fields(group, fields.where() + ".config_groups." + name);
    const LinearQuantization quantization = ParseGroup(group_fields, storage, frozen);
    for (const std::string& target : ParseStrings(group_fields, "targets")) {
      config.AddTarget(target, quantization, group_fields.where());
    }
  }
  if (!fields.Has("ignore")) return config;
  for (const std::string& target : ParseStrings(fields, "ignore")) {
    config.AddIgnored(target, fields.where() + ".ignore");
  }
  return config;
}

std::optional<LinearQuantization> QuantizationConfig::Find(std::string_view module) const {
  const auto matches = [&](const Regex& pattern) { return pattern.MatchesBegin(module); };
  if (ignored_names_.contains(module) || ignored_names_.contains(kLinearClass) ||
      std::ranges::any_of(ignored_patterns_, matches)) {
    return std::nullopt;
  }
  const auto exact = names_.find(module);
  if (exact != names_.end()) return exact->second;
  for (const auto& [text, target] : patterns_) {
    if (matches(target.first)) return target.second;
  }
  return linear_;
}

Json CompressedTensorsJson(std::span<const std::pair<std::string, LinearQuantization>> linears,
                           std::span<const std::string> ignore) {
  std::vector<std::pair<LinearQuantization, Json>> groups;
  for (const auto& [name, quantization] : linears) {
    auto group = std::find_if(groups.begin(), groups.end(),
                              [&](const auto& g) { return g.first == quantization; });
    FPTQ_CHECK(!quantization.per_tensor && (quantization.storage == WeightStorage::kPacked ||
                                            quantization.storage == WeightStorage::kInt8));
    if (group == groups.end()) group = groups.emplace(groups.end(), quantization, Json::array());
    group->second.push_back(name);
  }
  Json config_groups = Json::object();
  std::string_view whole;
  for (size_t i = 0; i < groups.size(); ++i) {
    const auto& [quantization, targets] = groups[i];
    const std::string_view format =
        quantization.storage == WeightStorage::kPacked ? kPackedFormat : kInt8Format;
    whole = whole.empty() || whole == format ? format : kMixedFormat;
    // Without a format of its own, transformers takes a group of 4-bit weights and 8-bit
    // activations for "int-quantized".
    config_groups["group_" + std::to_string(i)] = {
        {"targets", targets},
        {"weights", WeightsJson(quantization)},
        {"input_activations", ActivationsJson(quantization.activations)},
        {"output_activations", nullptr},
        {"format", format}};
  }
  return {{"quant_method", "compressed-tensors"},
          {"format", whole},
          {"quantization_status", "compressed"},
          {"config_groups", config_groups},
          {"ignore", ignore},
          {"kv_cache_scheme", nullptr}};
}

void PackIntegers(int bits, std::span<const int8_t> q, std::span<int32_t> packed) {
  const auto fields = static_cast<size_t>(32 / bits);
  const uint32_t mask = (1u << bits) - 1;
  FPTQ_CHECK(q.size() == packed.size() * fields);
  for (size_t i = 0; i < packed.size(); ++i) {
    uint32_t word = 0;
    for (size_t j = 0; j < fields; ++j) {
      const auto field = static_cast<uint32_t>(q[fields * i + j] + (1 << (bits - 1)));
      word |= (field & mask) << (static_cast<size_t>(bits) * j);
    }
    packed[i] = static_cast<int32_t>(word);
  }
}

void UnpackIntegers(int bits, std::span<const int32_t> packed, std::span<int8_t> q) {
  FPTQ_CHECK(bits == 4 || bits == 8);
  FPTQ_CHECK(std::ssize(q) == std::ssize(packed) * 32 / bits);
  for (size_t i = 0; i < packed.size(); ++i) {
    const auto word = static_cast<uint32_t>(packed[i]);
    if (bits == 8) {
      const uint32_t bytes = word ^ 0x8080'8080u;
      std::memcpy(&q[4 * i], &bytes, sizeof(bytes));
      continue;
    }
    // Spreads the nibbles to bytes by halves, then subtracts 8 from each; the top bits keep a
    // borrow from the next byte.
    constexpr uint64_t kSigns = 0x8080'8080'8080'8080;
    uint64_t bytes = word;
    bytes = (bytes | bytes << 16) & 0x0000'ffff'0000'ffff;
    bytes = (bytes | bytes << 8) & 0x00ff'00ff'00ff'00ff;
    bytes = (bytes | bytes << 4) & 0x0f0f'0f0f'0f0f'0f0f;
    bytes = ((bytes | kSigns) - 0x0808'0808'0808'0808) ^ kSigns;
    std::memcpy(&q[8 * i], &bytes, sizeof(bytes));
  }
}

}  // namespace fptq
