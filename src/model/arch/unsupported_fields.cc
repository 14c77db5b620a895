#include "model/arch/unsupported_fields.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <span>
#include <string>

#include "base/error.h"
#include "model/arch/gguf_config.h"

namespace fptq {
namespace {

// A number that changes nothing; of a switch 0 or 1. Often 0 stands for "not given", too.
struct NeutralValue {
  std::string_view name;
  double value;
  double other = value;
};

// Whether `json` is, or is an array of nothing but, what changes nothing.
bool IsNeutral(const Json& json, const NeutralValue& neutral) {
  if (json.is_array()) {
    return std::ranges::all_of(json, [&](const Json& item) { return IsNeutral(item, neutral); });
  }
  if (json.is_object()) return json.empty();
  if (!json.is_boolean() && !json.is_number()) return false;
  const double value = json.is_boolean() ? json.get<bool>() : json.get<double>();
  const auto equals = [&](double expected) {  // within what F32 makes of it
    return std::abs(value - expected) <= 1e-6 * std::abs(expected);
  };
  return equals(neutral.value) || equals(neutral.other);
}

void RequireNeutral(const Json& object, std::string_view where, std::string_view name,
                    const NeutralValue& neutral) {
  const auto field = object.find(name);
  if (field == object.end() || field->is_null() || IsNeutral(*field, neutral)) return;
  throw Error("{}: {}: expected none or {}, as nothing else is supported, found {}", where, name,
              neutral.value, field->is_structured() ? field->type_name() : field->dump());
}

constexpr NeutralValue kHfFields[] = {
    {"is_causal", 1},
    {"use_bidirectional_attention", 0},
    {"attention_chunk_size", 0},
    {"attn_logit_softcapping", 0},
    {"final_logit_softcapping", 0},
    {"clip_qkv", 0},
    {"embedding_multiplier", 1},
    {"scale_emb", 1},
    {"residual_multiplier", 1},
    {"logits_scaling", 1},
    {"logit_scale", 1},
    {"use_qk_norm", 0},
    {"qk_layernorm", 0},
    {"no_rope_layers", 1},
    {"num_experts", 0},
    {"num_local_experts", 0},
    {"n_routed_experts", 0},
    {"per_layer_config", 0},
};

constexpr NeutralValue kGgufKeys[] = {
    {"attention.causal", 1},
    {"attention.clamp_kqv", 0},
    {"attention.output_scale", 0, 1},
    {"attention.rope_pattern", 1},
    {"attention.shared_kv_layers", 0},
    {"attention.sliding_window", 0},
    {"attention.temperature_length", 0},
    {"attention.temperature_scale", 0},
    {"attention.value_scale", 0, 1},
    {"attn_logit_softcapping", 0},
    {"attn_res.block_size", 0},
    {"embedding_scale", 0, 1},
    {"expert_count", 0},
    {"expert_used_count", 0},
    {"final_logit_softcapping", 0},
    {"hrm.h_cycles", 0},
    {"hrm.l_cycles", 0},
    {"hrm.layers_per_stack", 0},
    {"logit_scale", 0, 1},
    {"nextn_predict_layers", 0},
    {"num_loops", 0, 1},
    {"residual_scale", 0, 1},
    {"rope.scaling.alpha", 0, 1},
    {"rope.scaling.attn_factor", 1},
    {"rope.scaling.yarn_log_multiplier", 0},
    {"rope.scaling.yarn_attn_factor", 1},
    {"rope.scaling.yarn_ext_factor", 0, -1},
    {"swiglu_clamp_exp", 0},
    {"swiglu_clamp_shexp", 0},
    {"swin_norm", 0},
};

bool IsRead(const ArchSpec& arch, std::string_view name) {
  return std::ranges::find(arch.read_fields, name) != arch.read_fields.end();
}

// Tokens that llama.cpp never draws.
void RequireNoneSuppressed(const Json& metadata, std::string_view where) {
  constexpr const char* kKey = "tokenizer.ggml.suppress_tokens";
  if (const auto tokens = metadata.find(kKey); tokens != metadata.end() && !tokens->empty()) {
    throw Error("{}: {}: expected none, as it is not supported, found {}", where, kKey,
                tokens->size());
  }
}

}  // namespace

void RejectUnsupportedHfFields(const Json& object, const ModelConfig& config,
                               std::string_view where) {
  const auto require = [&](std::string_view name, const NeutralValue& neutral) {
    if (!IsRead(*config.arch, name)) RequireNeutral(object, where, name, neutral);
  };
  for (const NeutralValue& neutral : kHfFields) require(neutral.name, neutral);
  const auto head_dim = static_cast<double>(config.head_dim);
  require("attention_multiplier", {"", 1 / std::sqrt(head_dim)});
  require("query_pre_attn_scalar", {"", head_dim});
}

void RejectUnsupportedGgufKeys(const Json& object, const ModelConfig& config,
                               std::string_view where) {
  const std::string_view arch = config.arch->gguf_name;
  const auto require = [&](std::string_view name, const NeutralValue& neutral) {
    if (!IsRead(*config.arch, name)) {
      RequireNeutral(object, where, GgufKey(arch, name), neutral);
    }
  };
  for (const NeutralValue& neutral : kGgufKeys) require(neutral.name, neutral);
  const auto head_dim = static_cast<double>(config.head_dim);
  require("attention.scale", {"", 1 / std::sqrt(head_dim), 0});
  require("attention.value_length", {"", head_dim});
  require("attention.max_alibi_bias", {"", config.alibi ? 8.0 : 0.0});  // AlibiSlopes()
  RequireNoneSuppressed(object, where);
  const JsonFields fields(object, std::string(where));
  if (const std::string key = GgufKey(arch, "hidden_activation");
      fields.Has(key) && ReadActivation(fields, key, "") != config.activation) {
    throw Error("{}: {}: expected the one of the architecture, found {}", where, key,
                fields.String(key));
  }
}

}  // namespace fptq
