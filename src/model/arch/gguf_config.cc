#include "model/arch/gguf_config.h"

#include <fmt/format.h>

#include "base/error.h"
#include "model/positions.h"

namespace fptq {
namespace {

// A number, or an array of one for each layer: these must be equal.
int64_t IntOfLayers(const JsonFields& fields, const std::string& key, int64_t layers, int64_t min) {
  if (!fields.Value(key).is_array()) return fields.Int(key, min, kMaxInt);
  const Json& values = fields.Array(key);
  if (std::ssize(values) != layers) {
    throw Error("{}: {}: expected a number for each of the {} layers, found {}", fields.where(),
                key, layers, values.size());
  }
  for (const Json& value : values) {
    if (value != values.front()) {
      throw Error("{}: {}: expected the same number in all layers, found {} and {}", fields.where(),
                  key, values.front().dump(), value.dump());
    }
  }
  const Json first = {{key, values.empty() ? Json() : values.front()}};
  return JsonFields(first, fields.where()).Int(key, min, kMaxInt);
}

// What llama.cpp makes of it: without a type a factor is a linear one, and none if the type says
// so. Factors of longrope are tensors, which source.cc reads.
RopeScaling ReadGgufRopeScaling(const JsonFields& fields, std::string_view arch,
                                const ModelConfig& config) {
  const std::string key = GgufKey(arch, "rope.scaling.type");
  const std::string type = fields.StringOr(key, "linear");
  if (type == "none" || type == "longrope") return {};
  const double old = fields.DoubleOr(GgufKey(arch, "rope.scale_linear"), 0);
  const double factor = fields.DoubleOr(GgufKey(arch, "rope.scaling.factor"), old);
  if (factor == 0 || factor == 1) return {};
  RopeScaling scaling;
  scaling.factor = factor;
  if (type == "linear") {
    scaling.kind = RopeScaling::Kind::kLinear;
    return scaling;
  }
  if (type != "yarn") {
    throw Error("{}: {}: expected none, linear, yarn or longrope, found '{}'", fields.where(), key,
                type);
  }
  scaling.kind = RopeScaling::Kind::kYarn;
  scaling.original_positions = fields.IntOr(GgufKey(arch, "rope.scaling.original_context_length"),
                                            config.max_positions, 1, kMaxInt);
  scaling.beta_fast = fields.DoubleOr(GgufKey(arch, "rope.scaling.yarn_beta_fast"), 32);
  scaling.beta_slow = fields.DoubleOr(GgufKey(arch, "rope.scaling.yarn_beta_slow"), 1);
  scaling.attention_factor = YarnAttentionFactor(factor);
  return scaling;
}

}  // namespace

std::string GgufKey(std::string_view arch, std::string_view name) {
  return fmt::format("{}.{}", arch, name);
}

ModelConfig ReadGgufDimensions(const JsonFields& fields, std::string_view arch) {
  const auto key = [&](std::string_view name) { return GgufKey(arch, name); };
  ModelConfig config;
  config.layers = fields.Int(key("block_count"), 0, kMaxInt);
  config.hidden = fields.Int(key("embedding_length"), 0, kMaxInt);
  config.heads = IntOfLayers(fields, key("attention.head_count"), config.layers, /*min=*/1);
  config.kv_heads = config.heads;
  if (const std::string kv_heads = key("attention.head_count_kv"); fields.Has(kv_heads)) {
    config.kv_heads = IntOfLayers(fields, kv_heads, config.layers, /*min=*/0);
  }
  config.head_dim = fields.Has(key("attention.key_length"))
                        ? fields.Int(key("attention.key_length"), 0, kMaxInt)
                        : DefaultHeadDim(fields, key("embedding_length"), config);
  config.mlp = IntOfLayers(fields, key("feed_forward_length"), config.layers, /*min=*/0);
  config.max_positions = fields.Int(key("context_length"), 0, kMaxInt);
  return config;
}

void RequireEqualHeads(const JsonFields& fields, std::string_view arch, const ModelConfig& config) {
  if (config.kv_heads != config.heads) {
    throw Error("{}: {}.attention.head_count_kv: expected the {} attention heads, found {}",
                fields.where(), arch, config.heads, config.kv_heads);
  }
  RequireDefaultHeadDim(fields, arch, config);
}

void RequireDefaultHeadDim(const JsonFields& fields, std::string_view arch,
                           const ModelConfig& config) {
  const std::string hidden = GgufKey(arch, "embedding_length");
  if (const int64_t dim = DefaultHeadDim(fields, hidden, config); dim != config.head_dim) {
    throw Error("{}: {}.attention.key_length: expected {}, found {}", fields.where(), arch, dim,
                config.head_dim);
  }
}

void ReadGgufRope(const JsonFields& fields, std::string_view arch, ModelConfig& config) {
  config.rotary = fields.IntOr(GgufKey(arch, "rope.dimension_count"), config.head_dim, 0, kMaxInt);
  config.rope.theta = fields.DoubleOr(GgufKey(arch, "rope.freq_base"), 10000.0);
  config.rope.scaling = ReadGgufRopeScaling(fields, arch, config);
}

void RequireWholeHeadsRotate(const JsonFields& fields, std::string_view arch,
                             const ModelConfig& config) {
  if (config.rotary != config.head_dim) {
    throw Error("{}: {}.rope.dimension_count: expected the head dimension {}, found {}",
                fields.where(), arch, config.head_dim, config.rotary);
  }
}

ModelConfig LlamaDimensionsFromGguf(const JsonFields& fields, std::string_view arch) {
  ModelConfig config = ReadGgufDimensions(fields, arch);
  config.norm_epsilon = fields.Double(GgufKey(arch, "attention.layer_norm_rms_epsilon"));
  ReadGgufRope(fields, arch, config);
  RequireBool(fields, GgufKey(arch, "use_parallel_residual"), false);
  return config;
}

ModelConfig LlamaConfigFromGguf(const JsonFields& fields, std::string_view arch) {
  ModelConfig config = LlamaDimensionsFromGguf(fields, arch);
  RequireWholeHeadsRotate(fields, arch, config);
  return config;
}

}  // namespace fptq
