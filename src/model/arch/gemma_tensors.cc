#include "model/arch/gemma_tensors.h"

#include <algorithm>
#include <cmath>

namespace fptq::gemma_tensors {
namespace {

void SetFixed(ModelConfig& config) {
  config.activation = Activation::kGeluTanh;
  config.embedding_scale = std::sqrt(static_cast<double>(config.hidden));
}

void SetWindows(int64_t window, int64_t pattern, ModelConfig& config) {
  const int64_t layers = std::min(config.layers, kMaxLayers);  // Validate() refuses more
  for (int64_t layer = 0; window != 0 && layer < layers; ++layer) {
    config.windows.push_back((layer + 1) % pattern == 0 ? 0 : window);
  }
}

// Null stands for none.
double Softcap(const JsonFields& fields, std::string_view name, double otherwise) {
  return fields.IsNull(name) ? 0 : fields.DoubleOr(name, otherwise);
}

}  // namespace

ModelConfig ConfigFromHf(const JsonFields& fields, const Defaults& defaults) {
  RequireBool(fields, "attention_bias", false);
  ModelConfig config = LlamaConfigFromHf(fields, {.kv_heads = 4,
                                                  .head_dim = 256,
                                                  .max_positions = defaults.max_positions,
                                                  .rope_theta = defaults.rope_theta,
                                                  .heads = 8,
                                                  .vocab = defaults.vocab});
  SetFixed(config);
  config.activation = ReadActivation(fields, "hidden_activation", "gelu_pytorch_tanh");
  config.tied_head = fields.BoolOr("tie_word_embeddings", true);
  config.attention_scale = 1 / std::sqrt(fields.DoubleOr("query_pre_attn_scalar", 256));
  config.attention_softcap = Softcap(fields, "attn_logit_softcapping", defaults.attention_softcap);
  config.logit_softcap = Softcap(fields, "final_logit_softcapping", defaults.logit_softcap);
  const int64_t window = ReadWindow(fields, /*otherwise=*/4096);
  if (fields.Has("layer_types")) {
    ReadWindows(fields, window, /*first=*/0, config);
  } else {
    SetWindows(window, fields.IntOr("sliding_window_pattern", defaults.pattern, 1, kMaxInt),
               config);
  }
  return config;
}

ModelConfig ConfigFromGguf(const JsonFields& fields, std::string_view arch,
                           const Defaults& defaults, int64_t layers_of_27b) {
  ModelConfig config = LlamaConfigFromGguf(fields, arch);
  SetFixed(config);
  if (config.layers == layers_of_27b && config.heads > 0) {
    config.attention_scale = 1 / std::sqrt(static_cast<double>(config.hidden / config.heads));
  }
  const auto number = [&](std::string_view name, double otherwise) {
    return fields.DoubleOr(GgufKey(arch, name), otherwise);
  };
  config.attention_softcap = number("attn_logit_softcapping", defaults.attention_softcap);
  config.logit_softcap = number("final_logit_softcapping", defaults.logit_softcap);
  SetWindows(fields.IntOr(GgufKey(arch, "attention.sliding_window"), 4096, 0, kMaxInt),
             defaults.pattern, config);
  return config;
}

Json ConfigToHf(const ModelConfig& config) {
  Json json = LlamaConfigToHf(config);
  json.erase("hidden_act");
  json["hidden_activation"] = "gelu_pytorch_tanh";
  const double scale = config.softmax_scale();
  json["query_pre_attn_scalar"] = std::round(1 / (scale * scale));
  const auto cap = [](double value) { return value == 0 ? Json() : Json(value); };
  json["attn_logit_softcapping"] = cap(config.attention_softcap);
  json["final_logit_softcapping"] = cap(config.logit_softcap);
  Json types = Json::array();
  for (int64_t layer = 0; layer < config.layers; ++layer) {
    types.push_back(config.window(layer) > 0 ? "sliding_attention" : "full_attention");
  }
  json["layer_types"] = types;
  const int64_t window = config.windows.empty() ? 0 : std::ranges::max(config.windows);
  json["sliding_window"] = window == 0 ? Json() : Json(window);
  return json;
}

}  // namespace fptq::gemma_tensors
