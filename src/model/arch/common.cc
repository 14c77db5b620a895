#include "model/arch/common.h"

#include <fmt/format.h>

#include <cmath>
#include <utility>

#include "base/error.h"

namespace fptq {
namespace {

// What changes the result and is not implemented must not pass silently.
RopeScaling ReadRopeScaling(const JsonFields& fields) {
  const std::string type = fields.StringOr("rope_type", fields.StringOr("type", "default"));
  RopeScaling scaling;
  if (type == "default") return scaling;
  if (type == "linear") {
    scaling.kind = RopeScaling::Kind::kLinear;
    scaling.factor = fields.Double("factor");
    return scaling;
  }
  if (type == "llama3") {
    scaling.kind = RopeScaling::Kind::kLlama3;
    scaling.factor = fields.Double("factor");
    scaling.low_freq_factor = fields.Double("low_freq_factor");
    scaling.high_freq_factor = fields.Double("high_freq_factor");
    scaling.original_positions = fields.Int("original_max_position_embeddings", 1, kMaxInt);
    return scaling;
  }
  throw Error("{}: rope scaling: expected type default, linear or llama3, found '{}'",
              fields.where(), type);
}

std::string Key(std::string_view arch, std::string_view name) {
  return fmt::format("{}.{}", arch, name);
}

// Error if a number is there and not 0.
void RequireNone(const JsonFields& fields, const std::string& field) {
  if (fields.Has(field) && fields.Double(field) != 0) {
    throw Error("{}: {}: expected none, as it is not supported, found {}", fields.where(), field,
                fields.Double(field));
  }
}

RopeScaling ReadGgufRopeScaling(const JsonFields& fields, std::string_view arch) {
  const std::string field = Key(arch, "rope.scaling.type");
  const std::string type = fields.StringOr(field, "none");
  RopeScaling scaling;
  if (type == "none") return scaling;
  if (type != "linear") {
    throw Error("{}: {}: expected none or linear, found '{}'", fields.where(), field, type);
  }
  scaling.kind = RopeScaling::Kind::kLinear;
  scaling.factor = fields.Double(Key(arch, "rope.scaling.factor"));
  return scaling;
}

}  // namespace

int64_t QueryChannels(const ModelConfig& config) { return config.query_width(); }
int64_t KvChannels(const ModelConfig& config) { return config.kv_width(); }
int64_t QkvChannels(const ModelConfig& config) {
  return config.query_width() + 2 * config.kv_width();
}
int64_t HiddenChannels(const ModelConfig& config) { return config.hidden; }
int64_t MlpChannels(const ModelConfig& config) { return config.mlp; }

Activation ReadActivation(const JsonFields& fields, std::string_view field,
                          std::string_view otherwise) {
  constexpr std::pair<std::string_view, Activation> kNames[] = {
      {"silu", Activation::kSilu},
      {"gelu", Activation::kGelu},
      {"gelu_new", Activation::kGeluTanh},
      {"gelu_fast", Activation::kGeluTanh},
      {"gelu_pytorch_tanh", Activation::kGeluTanh},
      {"relu", Activation::kRelu},
  };
  const std::string name = fields.StringOr(field, otherwise);
  for (const auto& [known, activation] : kNames) {
    if (name == known) return activation;
  }
  throw Error(
      "{}: {}: expected silu, gelu, gelu_new, gelu_fast, gelu_pytorch_tanh or relu, found '{}'",
      fields.where(), field, name);
}

int64_t DefaultHeadDim(const JsonFields& fields, std::string_view field,
                       const ModelConfig& config) {
  if (config.hidden % config.heads != 0) {
    throw Error("{}: {}: expected a multiple of the {} attention heads, found {}", fields.where(),
                field, config.heads, config.hidden);
  }
  return config.hidden / config.heads;
}

void ReadRope(const JsonFields& fields, double theta, double share, ModelConfig& config) {
  theta = fields.DoubleOr("rope_theta", theta);
  share = fields.DoubleOr("partial_rotary_factor", share);
  for (const char* name : {"rope_scaling", "rope_parameters"}) {
    if (!fields.Has(name)) continue;
    const JsonFields rope(fields.Object(name), fields.where() + ": " + name);
    for (const char* layers : {"full_attention", "sliding_attention"}) {
      if (rope.Has(layers)) {
        throw Error("{}: expected the same rotation in all layers, found '{}'", rope.where(),
                    layers);
      }
    }
    config.rope_scaling = ReadRopeScaling(rope);
    theta = rope.DoubleOr("rope_theta", theta);
    share = rope.DoubleOr("partial_rotary_factor", share);
  }
  if (!(share >= 0 && share <= 1)) {
    throw Error("{}: partial_rotary_factor: expected 0 to 1, found {}", fields.where(), share);
  }
  config.rope_theta = theta;
  config.rotary = static_cast<int64_t>(static_cast<double>(config.head_dim) * share);
}

Json RopeScalingToHf(const RopeScaling& scaling) {
  switch (scaling.kind) {
    case RopeScaling::Kind::kNone:
      return nullptr;
    case RopeScaling::Kind::kLinear:
      return {{"rope_type", "linear"}, {"factor", scaling.factor}};
    case RopeScaling::Kind::kLlama3:
      return {{"rope_type", "llama3"},
              {"factor", scaling.factor},
              {"low_freq_factor", scaling.low_freq_factor},
              {"high_freq_factor", scaling.high_freq_factor},
              {"original_max_position_embeddings", scaling.original_positions}};
  }
  return nullptr;
}

void ReadWindows(const JsonFields& fields, int64_t first, ModelConfig& config) {
  const int64_t window = fields.IntOr("sliding_window", 0, 1, kMaxInt);
  if (window == 0) return;
  if (!fields.Has("layer_types")) {
    for (int64_t layer = 0; layer < config.layers; ++layer) {
      config.windows.push_back(layer < first ? 0 : window);
    }
    return;
  }
  for (const Json& type : fields.Array("layer_types")) {
    if (type != "full_attention" && type != "sliding_attention") {
      throw Error("{}: layer_types: expected full_attention or sliding_attention, found {}",
                  fields.where(), type.dump());
    }
    config.windows.push_back(type == "sliding_attention" ? window : 0);
  }
}

void RequireBool(const JsonFields& fields, std::string_view field, bool expected) {
  if (fields.BoolOr(field, expected) != expected) {
    throw Error("{}: {}: expected {}, as the other is not supported", fields.where(), field,
                expected);
  }
}

ModelConfig LlamaConfigFromHf(const JsonFields& fields) {
  ModelConfig config;
  config.layers = fields.Int("num_hidden_layers", 0, kMaxInt);
  config.hidden = fields.Int("hidden_size", 0, kMaxInt);
  config.heads = fields.Int("num_attention_heads", 1, kMaxInt);
  config.kv_heads = fields.IntOr("num_key_value_heads", config.heads, 0, kMaxInt);
  config.head_dim = fields.Has("head_dim") ? fields.Int("head_dim", 0, kMaxInt)
                                           : DefaultHeadDim(fields, "hidden_size", config);
  config.mlp = fields.Int("intermediate_size", 0, kMaxInt);
  config.vocab = fields.Int("vocab_size", 0, kMaxInt);
  config.max_positions = fields.IntOr("max_position_embeddings", 2048, 0, kMaxInt);
  config.norm_epsilon = fields.DoubleOr("rms_norm_eps", 1e-6);
  config.activation = ReadActivation(fields, "hidden_act", "silu");
  ReadRope(fields, /*theta=*/10000.0, /*share=*/1.0, config);
  config.tied_head = fields.BoolOr("tie_word_embeddings", false);
  return config;
}

ModelConfig LlamaConfigFromGguf(const JsonFields& fields, std::string_view arch) {
  const auto key = [&](std::string_view name) { return Key(arch, name); };
  RequireNone(fields, key("expert_count"));
  RequireNone(fields, key("attention.sliding_window"));
  ModelConfig config;
  config.layers = fields.Int(key("block_count"), 0, kMaxInt);
  config.hidden = fields.Int(key("embedding_length"), 0, kMaxInt);
  config.heads = fields.Int(key("attention.head_count"), 1, kMaxInt);
  config.kv_heads = fields.IntOr(key("attention.head_count_kv"), config.heads, 0, kMaxInt);
  config.head_dim = fields.Has(key("attention.key_length"))
                        ? fields.Int(key("attention.key_length"), 0, kMaxInt)
                        : DefaultHeadDim(fields, key("embedding_length"), config);
  config.rotary = fields.IntOr(key("rope.dimension_count"), config.head_dim, 0, kMaxInt);
  config.mlp = fields.Int(key("feed_forward_length"), 0, kMaxInt);
  config.max_positions = fields.Int(key("context_length"), 0, kMaxInt);
  config.norm_epsilon = fields.Double(key("attention.layer_norm_rms_epsilon"));
  config.rope_theta = fields.DoubleOr(key("rope.freq_base"), 10000.0);
  config.rope_scaling = ReadGgufRopeScaling(fields, arch);
  return config;
}

ModelConfig QwenConfigFromHf(const JsonFields& fields) {
  ModelConfig config = LlamaConfigFromHf(fields);
  if (fields.BoolOr("use_sliding_window", false)) {
    ReadWindows(fields, fields.IntOr("max_window_layers", 28, 0, kMaxInt), config);
  }
  return config;
}

Json LlamaConfigToHf(const ModelConfig& config) {
  Json json = {
      {"hidden_act", "silu"},
      {"hidden_size", config.hidden},
      {"intermediate_size", config.mlp},
      {"num_hidden_layers", config.layers},
      {"num_attention_heads", config.heads},
      {"num_key_value_heads", config.kv_heads},
      {"head_dim", config.head_dim},
      {"max_position_embeddings", config.max_positions},
      {"rms_norm_eps", config.norm_epsilon},
      {"rope_theta", config.rope_theta},
  };
  if (config.rope_scaling.kind != RopeScaling::Kind::kNone) {
    json["rope_scaling"] = RopeScalingToHf(config.rope_scaling);
  }
  return json;
}

}  // namespace fptq
