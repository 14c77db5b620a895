#include "model/arch/common.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "base/error.h"

namespace fptq {
namespace {

// Of `rope`, a part of `fields`.
RopeScaling ReadRopeScaling(const JsonFields& fields, const JsonFields& rope,
                            const ModelConfig& config) {
  const std::string type = rope.StringOr("rope_type", rope.StringOr("type", "default"));
  RopeScaling scaling;
  if (type == "default") return scaling;
  if (type == "linear") {
    scaling.kind = RopeScaling::Kind::kLinear;
    scaling.factor = rope.Double("factor");
    return scaling;
  }
  if (type == "llama3") {
    constexpr std::string_view kOriginal = "original_max_position_embeddings";
    scaling.kind = RopeScaling::Kind::kLlama3;
    scaling.factor = rope.Double("factor");
    scaling.low_freq_factor = rope.Double("low_freq_factor");
    scaling.high_freq_factor = rope.Double("high_freq_factor");
    scaling.original_positions =
        (fields.Has(kOriginal) ? fields : rope).IntOr(kOriginal, config.max_positions, 1, kMaxInt);
    return scaling;
  }
  throw Error("{}: rope scaling: expected type default, linear or llama3, found '{}'", rope.where(),
              type);
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
      {"swish", Activation::kSilu},
      {"gelu", Activation::kGelu},
      {"gelu_python", Activation::kGelu},
      {"gelu_new", Activation::kGeluTanh},
      {"gelu_fast", Activation::kGeluTanh},
      {"gelu_accurate", Activation::kGeluTanh},
      {"gelu_pytorch_tanh", Activation::kGeluTanh},
      {"gelu_python_tanh", Activation::kGeluTanh},
      {"relu", Activation::kRelu},
  };
  const std::string name = fields.StringOr(field, otherwise);
  std::vector<std::string_view> names;
  for (const auto& [known, activation] : kNames) {
    if (name == known) return activation;
    names.push_back(known);
  }
  throw Error("{}: {}: expected one of {}, found '{}'", fields.where(), field,
              fmt::join(names, ", "), name);
}

int64_t DefaultHeadDim(const JsonFields& fields, std::string_view field,
                       const ModelConfig& config) {
  if (config.hidden % config.heads != 0) {
    throw Error("{}: {}: expected a multiple of the {} attention heads, found {}", fields.where(),
                field, config.heads, config.hidden);
  }
  return config.hidden / config.heads;
}

void ReadRope(const JsonFields& fields, const RopeNames& names, ModelConfig& config) {
  config.rope_theta = fields.DoubleOr(names.theta, 10000.0);
  double share = fields.DoubleOr(names.share, names.default_share);
  for (const char* name : {"rope_scaling", "rope_parameters"}) {
    if (!fields.Has(name) || fields.Object(name).empty()) continue;
    const JsonFields rope(fields.Object(name), fields.where() + ": " + name);
    for (const char* layers : {"full_attention", "sliding_attention"}) {
      if (rope.Has(layers)) {
        throw Error("{}: expected the same rotation in all layers, found '{}'", rope.where(),
                    layers);
      }
    }
    config.rope_scaling = ReadRopeScaling(fields, rope, config);
    config.rope_theta = rope.DoubleOr("rope_theta", config.rope_theta);
    share = rope.DoubleOr("partial_rotary_factor", share);
    break;
  }
  if (!(share >= 0 && share <= 1)) {
    throw Error("{}: {}: expected 0 to 1, found {}", fields.where(), names.share, share);
  }
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

int64_t ReadWindow(const JsonFields& fields, int64_t otherwise) {
  if (fields.IsNull("sliding_window")) return 0;
  return fields.IntOr("sliding_window", otherwise, 1, kMaxInt);
}

void ReadWindows(const JsonFields& fields, int64_t window, int64_t first, ModelConfig& config) {
  if (!fields.Has("layer_types")) {
    if (window == 0) return;
    const int64_t layers = std::min(config.layers, kMaxLayers);  // Validate() refuses more
    for (int64_t layer = 0; layer < layers; ++layer) {
      config.windows.push_back(layer < first ? 0 : window);
    }
    return;
  }
  for (const Json& type : fields.Array("layer_types")) {
    const bool slides = type == "sliding_attention";
    if (!slides && type != "full_attention") {
      throw Error("{}: layer_types: expected full_attention or sliding_attention, found {}",
                  fields.where(), type.dump());
    }
    if (slides && window == 0) {
      throw Error(
          "{}: layer_types: expected full_attention, as there is no sliding_window, found "
          "sliding_attention",
          fields.where());
    }
    config.windows.push_back(slides ? window : 0);
  }
}

void RequireFullAttention(const JsonFields& fields) {
  if (fields.Has("sliding_window")) {
    throw Error("{}: sliding_window: expected null, as this architecture has none, found {}",
                fields.where(), fields.Value("sliding_window").dump());
  }
  ModelConfig ignored;
  ReadWindows(fields, /*window=*/0, /*first=*/0, ignored);
}

void RequireBool(const JsonFields& fields, std::string_view field, bool expected) {
  if (fields.BoolOr(field, expected) != expected) {
    throw Error("{}: {}: expected {}, as the other is not supported", fields.where(), field,
                expected);
  }
}

ModelConfig LlamaConfigFromHf(const JsonFields& fields, const LlamaDefaults& defaults) {
  ModelConfig config;
  config.layers = fields.Int("num_hidden_layers", 0, kMaxInt);
  config.hidden = fields.Int("hidden_size", 0, kMaxInt);
  config.heads = fields.Int("num_attention_heads", 1, kMaxInt);
  const bool as_heads = defaults.kv_heads == 0 || fields.IsNull("num_key_value_heads");
  config.kv_heads =
      fields.IntOr("num_key_value_heads", as_heads ? config.heads : defaults.kv_heads, 0, kMaxInt);
  if (fields.Has("head_dim") || defaults.head_dim != 0) {
    config.head_dim = fields.IntOr("head_dim", defaults.head_dim, 0, kMaxInt);
  } else {
    config.head_dim = DefaultHeadDim(fields, "hidden_size", config);
  }
  config.mlp = fields.Int("intermediate_size", 0, kMaxInt);
  config.vocab = fields.Int("vocab_size", 0, kMaxInt);
  config.max_positions =
      fields.IntOr("max_position_embeddings", defaults.max_positions, 0, kMaxInt);
  config.norm_epsilon = fields.DoubleOr("rms_norm_eps", 1e-6);
  config.activation = ReadActivation(fields, "hidden_act", "silu");
  ReadRope(fields, {}, config);
  if (config.rotary != config.head_dim) {
    throw Error("{}: partial_rotary_factor: expected 1, as whole heads rotate, found {} of {}",
                fields.where(), config.rotary, config.head_dim);
  }
  config.tied_head = fields.BoolOr("tie_word_embeddings", false);
  return config;
}

ModelConfig QwenConfigFromHf(const JsonFields& fields, const LlamaDefaults& defaults) {
  ModelConfig config = LlamaConfigFromHf(fields, defaults);
  const bool slides = fields.BoolOr("use_sliding_window", false);
  ReadWindows(fields, slides ? ReadWindow(fields, /*otherwise=*/4096) : 0,
              /*first=*/fields.IntOr("max_window_layers", 28, 0, kMaxInt), config);
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
