#include "model/arch/common.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "base/error.h"
#include "model/positions.h"

namespace fptq {
namespace {

// Positions that the model was first trained on: outside of `rope`, a part of `fields`, or in it.
int64_t OriginalPositions(const JsonFields& fields, const JsonFields& rope,
                          const ModelConfig& config) {
  constexpr std::string_view kName = "original_max_position_embeddings";
  return (fields.Has(kName) ? fields : rope).IntOr(kName, config.max_positions, 1, kMaxInt);
}

// Where no factor is given, how much longer the context is than it was first.
double ContextFactor(const JsonFields& rope, const ModelConfig& config, int64_t original) {
  return rope.DoubleOr("factor",
                       static_cast<double>(config.max_positions) / static_cast<double>(original));
}

RopeScaling ReadYarn(const JsonFields& fields, const JsonFields& rope, const ModelConfig& config) {
  RopeScaling scaling;
  scaling.kind = RopeScaling::Kind::kYarn;
  scaling.original_positions = OriginalPositions(fields, rope, config);
  scaling.factor = ContextFactor(rope, config, scaling.original_positions);
  scaling.beta_fast = rope.DoubleOr("beta_fast", 32);
  scaling.beta_slow = rope.DoubleOr("beta_slow", 1);
  scaling.truncate = rope.BoolOr("truncate", true);
  const double scale = rope.DoubleOr("mscale", 0), of_all = rope.DoubleOr("mscale_all_dim", 0);
  scaling.attention_factor =
      rope.DoubleOr("attention_factor", scale != 0 && of_all != 0
                                            ? YarnAttentionFactor(scaling.factor, scale) /
                                                  YarnAttentionFactor(scaling.factor, of_all)
                                            : YarnAttentionFactor(scaling.factor));
  return scaling;
}

// transformers takes the factors of the long context once a sequence is longer than the original
// positions, which changes what stands in the cache already. Here, as in vLLM, the context that the
// model is made for decides: results are those of transformers for sequences that are longer, or
// where the context is the original one.
RopeScaling ReadLongRope(const JsonFields& fields, const JsonFields& rope,
                         const ModelConfig& config) {
  const int64_t original = OriginalPositions(fields, rope, config);
  RopeScaling scaling;
  scaling.kind = RopeScaling::Kind::kFactors;
  scaling.original_positions = original;
  for (const Json& factor :
       rope.Array(config.max_positions > original ? "long_factor" : "short_factor")) {
    if (!factor.is_number()) {
      throw Error("{}: factors: expected a number, found {}", rope.where(), factor.dump());
    }
    scaling.factors.push_back(factor.get<double>());
  }
  scaling.attention_factor = rope.DoubleOr(
      "attention_factor", LongRopeAttentionFactor(ContextFactor(rope, config, original), original));
  return scaling;
}

// Of `rope`, a part of `fields`.
RopeScaling ReadRopeScaling(const JsonFields& fields, const JsonFields& rope,
                            const ModelConfig& config) {
  const std::string type = rope.StringOr("rope_type", rope.StringOr("type", "default"));
  RopeScaling scaling;
  // "dynamic" changes nothing up to the context that the model is made for, beyond which we do not
  // go.
  if (type == "default" || type == "dynamic") return scaling;
  if (type == "linear") {
    scaling.kind = RopeScaling::Kind::kLinear;
    scaling.factor = rope.Double("factor");
    return scaling;
  }
  if (type == "llama3") {
    scaling.kind = RopeScaling::Kind::kLlama3;
    scaling.factor = rope.Double("factor");
    scaling.low_freq_factor = rope.Double("low_freq_factor");
    scaling.high_freq_factor = rope.Double("high_freq_factor");
    scaling.original_positions = OriginalPositions(fields, rope, config);
    return scaling;
  }
  if (type == "yarn") return ReadYarn(fields, rope, config);
  if (type == "longrope" || type == "su") return ReadLongRope(fields, rope, config);
  throw Error(
      "{}: rope scaling: expected type default, dynamic, linear, llama3, yarn or longrope, found "
      "'{}'",
      rope.where(), type);
}

}  // namespace

int64_t QueryChannels(const ModelConfig& config) { return config.query_width(); }
int64_t KvChannels(const ModelConfig& config) { return config.kv_width(); }
int64_t QkvChannels(const ModelConfig& config) {
  return config.query_width() + 2 * config.kv_width();
}
int64_t HiddenChannels(const ModelConfig& config) { return config.hidden; }
int64_t MlpChannels(const ModelConfig& config) { return config.mlp; }
int64_t GateUpChannels(const ModelConfig& config) { return 2 * config.mlp; }
int64_t FirstOfV(const ModelConfig& config) { return config.query_width() + config.kv_width(); }
int64_t FirstOfUp(const ModelConfig& config) { return config.mlp; }
int64_t HeadDim(const ModelConfig& config) { return config.head_dim; }

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

std::string_view EitherName(const JsonFields& fields, std::string_view name,
                            std::string_view other) {
  return fields.Has(name) ? name : other;
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
  config.rope.theta = fields.DoubleOr(names.theta, names.default_theta);
  double share = fields.DoubleOr(names.share, names.default_share);
  const auto read = [&](const JsonFields& json, Rope& rope) {
    rope.theta = json.DoubleOr("rope_theta", rope.theta);
    share = json.DoubleOr("partial_rotary_factor", share);
    if (!(share >= 0 && share <= 1)) {
      throw Error("{}: {}: expected 0 to 1, found {}", fields.where(), names.share, share);
    }
    config.rotary = static_cast<int64_t>(static_cast<double>(config.head_dim) * share);
    rope.scaling = ReadRopeScaling(fields, json, config);
  };
  const Json none = Json::object();
  read(JsonFields(none, fields.where()), config.rope);
  for (const char* name : {"rope_scaling", "rope_parameters"}) {
    if (!fields.Has(name) || fields.Object(name).empty()) continue;
    const JsonFields json(fields.Object(name), fields.where() + ": " + name);
    if (!json.Has("full_attention") && !json.Has("sliding_attention")) {
      read(json, config.rope);
      break;
    }
    const auto read_layers = [&](const char* layers, Rope& rope) {
      if (!json.Has(layers)) return;
      read(JsonFields(json.Object(layers), json.where() + ": " + layers), rope);
    };
    Rope window_rope = {.theta = config.rope.theta, .scaling = {}};
    read_layers("full_attention", config.rope);
    read_layers("sliding_attention", window_rope);
    if (window_rope != config.rope) config.window_rope = window_rope;
    break;
  }
}

void ReadRopeOfWholeHeads(const JsonFields& fields, const RopeNames& names, ModelConfig& config) {
  ReadRope(fields, names, config);
  if (config.rotary != config.head_dim) {
    throw Error("{}: {}: expected 1, as whole heads rotate, found {} of {}", fields.where(),
                names.share, config.rotary, config.head_dim);
  }
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
    case RopeScaling::Kind::kYarn:
      return {{"rope_type", "yarn"},
              {"factor", scaling.factor},
              {"beta_fast", scaling.beta_fast},
              {"beta_slow", scaling.beta_slow},
              {"truncate", scaling.truncate},
              {"attention_factor", scaling.attention_factor},
              {"original_max_position_embeddings", scaling.original_positions}};
    case RopeScaling::Kind::kFactors:
      return {{"rope_type", "longrope"},
              {"long_factor", scaling.factors},
              {"short_factor", scaling.factors},
              {"attention_factor", scaling.attention_factor},
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

ModelConfig LlamaDimensionsFromHf(const JsonFields& fields, const LlamaDefaults& defaults) {
  ModelConfig config;
  config.layers = fields.Int("num_hidden_layers", 0, kMaxInt);
  config.hidden = fields.Int("hidden_size", 0, kMaxInt);
  const auto required = [&](std::string_view name, int64_t otherwise) {
    return otherwise == 0 ? fields.Int(name, 1, kMaxInt)
                          : fields.IntOr(name, otherwise, 1, kMaxInt);
  };
  config.heads = required("num_attention_heads", defaults.heads);
  const bool as_heads = defaults.kv_heads == 0 || fields.IsNull("num_key_value_heads");
  config.kv_heads =
      fields.IntOr("num_key_value_heads", as_heads ? config.heads : defaults.kv_heads, 0, kMaxInt);
  if (fields.Has("head_dim") || defaults.head_dim != 0) {
    config.head_dim = fields.IntOr("head_dim", defaults.head_dim, 0, kMaxInt);
  } else {
    config.head_dim = DefaultHeadDim(fields, "hidden_size", config);
  }
  config.mlp = fields.Int("intermediate_size", 0, kMaxInt);
  config.vocab = required("vocab_size", defaults.vocab);
  config.max_positions =
      fields.IntOr("max_position_embeddings", defaults.max_positions, 0, kMaxInt);
  config.norm_epsilon = fields.DoubleOr("rms_norm_eps", 1e-6);
  config.activation = ReadActivation(fields, "hidden_act", "silu");
  config.tied_head = fields.BoolOr("tie_word_embeddings", false);
  return config;
}

ModelConfig LlamaConfigFromHf(const JsonFields& fields, const LlamaDefaults& defaults) {
  ModelConfig config = LlamaDimensionsFromHf(fields, defaults);
  ReadRopeOfWholeHeads(fields, {.default_theta = defaults.rope_theta}, config);
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
      {"rope_theta", config.rope.theta},
  };
  if (config.rope.scaling.kind != RopeScaling::Kind::kNone) {
    json["rope_scaling"] = RopeScalingToHf(config.rope.scaling);
  }
  return json;
}

void ReadBiases(const JsonFields& fields, ModelConfig& config) {
  config.attention_bias = fields.BoolOr("attention_bias", false);
  config.mlp_bias = fields.BoolOr("mlp_bias", false);
}

void WriteBiases(const ModelConfig& config, Json& json) {
  json["attention_bias"] = config.attention_bias;
  json["mlp_bias"] = config.mlp_bias;
}

}  // namespace fptq
