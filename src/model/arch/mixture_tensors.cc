#include "model/arch/mixture_tensors.h"

#include <algorithm>

#include "base/error.h"

namespace fptq::mixture_tensors {
namespace {

// By layer, whether it is a mixture: every `step`-th one is, unless it is listed.
std::vector<bool> ReadLayers(const JsonFields& fields, int64_t layers) {
  constexpr std::string_view kDense = "mlp_only_layers";
  const int64_t step = fields.IntOr("decoder_sparse_step", 1, 1, kMaxInt);
  std::vector<bool> mixtures;
  for (int64_t layer = 0; layer < std::min(layers, kMaxLayers); ++layer) {
    mixtures.push_back((layer + 1) % step == 0);
  }
  if (fields.Has(kDense)) {
    for (const Json& item : fields.Array(kDense)) {
      const int64_t layer = item.is_number_integer() ? item.get<int64_t>() : -1;
      if (layer < 0 || layer >= layers) {
        throw Error("{}: {}: expected numbers of layers, 0 to {}, found {}", fields.where(), kDense,
                    layers - 1, item.dump());
      }
      if (layer < std::ssize(mixtures)) mixtures[static_cast<size_t>(layer)] = false;
    }
  }
  if (std::ranges::find(mixtures, true) == mixtures.end()) {
    throw Error("{}: decoder_sparse_step, {}: expected a layer with experts, found none",
                fields.where(), kDense);
  }
  if (std::ranges::find(mixtures, false) == mixtures.end()) mixtures.clear();
  return mixtures;
}

Mixture ReadMixture(const JsonFields& fields, const ModelConfig& config, const Mixture& defaults) {
  const std::string_view experts = fields.Has("num_experts") ? "num_experts" : "num_local_experts";
  Mixture mixture;
  mixture.experts = fields.IntOr(experts, defaults.experts, 1, kMaxInt);
  mixture.active = fields.IntOr("num_experts_per_tok", defaults.active, 1, kMaxInt);
  mixture.width = fields.IntOr("moe_intermediate_size", defaults.width, 1, kMaxInt);
  mixture.normalized = fields.BoolOr("norm_topk_prob", false);
  mixture.layers = ReadLayers(fields, config.layers);
  return mixture;
}

}  // namespace

ModelConfig QwenConfigFromHf(const JsonFields& fields, const LlamaDefaults& defaults,
                             const Mixture& mixture) {
  // Which layers have a window differs from those without experts, and no published model has one.
  RequireBool(fields, "use_sliding_window", false);
  ModelConfig config = fptq::QwenConfigFromHf(fields, defaults);
  config.mixture = ReadMixture(fields, config, mixture);
  return config;
}

Json QwenMixtureToHf(const ModelConfig& config) {
  Json json = LlamaConfigToHf(config);
  json.update({{"num_experts", config.mixture.experts},
               {"num_experts_per_tok", config.mixture.active},
               {"moe_intermediate_size", config.mixture.width},
               {"norm_topk_prob", config.mixture.normalized},
               {"decoder_sparse_step", 1},
               {"mlp_only_layers", Json::array()}});
  return json;
}

Mixture MixtureFromGguf(const JsonFields& fields, std::string_view arch) {
  Mixture mixture;
  mixture.experts = fields.Int(GgufKey(arch, "expert_count"), 1, kMaxInt);
  mixture.active = fields.Int(GgufKey(arch, "expert_used_count"), 1, kMaxInt);
  mixture.width = fields.IntOr(GgufKey(arch, "expert_feed_forward_length"), 0, 0, kMaxInt);
  return mixture;
}

}  // namespace fptq::mixture_tensors
