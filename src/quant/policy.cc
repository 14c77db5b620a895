#include "quant/policy.h"

#include "base/error.h"
#include "quant/equalize.h"
#include "quant/group_quant.h"
#include "quant/storage.h"

namespace fptq {

std::string_view ActSchemeName(ActScheme scheme) {
  switch (scheme) {
    case ActScheme::kStatic:
      return "static";
    case ActScheme::kLaeStatic:
      return "lae_static";
    case ActScheme::kDynamic:
      return "dynamic";
  }
  return {};
}

SchemeChoice ChooseScheme(const QuantRecipe& recipe, double range, bool can_equalize) {
  switch (recipe.policy) {
    case PolicyMode::kStatic:
      return {ActScheme::kStatic, "policy static"};
    case PolicyMode::kDynamic:
      return {ActScheme::kDynamic, "policy dynamic"};
    case PolicyMode::kPaper:
      break;
  }
  if (range <= recipe.v0) return {ActScheme::kStatic, "v <= v0"};
  if (range >= recipe.v1) return {ActScheme::kDynamic, "v >= v1"};
  if (recipe.equalization == Equalization::kNone) {
    return {ActScheme::kDynamic, "v0 < v < v1, equalization off"};
  }
  if (!can_equalize) return {ActScheme::kDynamic, "v0 < v < v1, no norm to fold LAE into"};
  return {ActScheme::kLaeStatic, "v0 < v < v1"};
}

const EqualizationGroup* FindEqualization(const ArchSpec& arch, ActSite site) {
  for (const EqualizationGroup& group : arch.equalization_groups) {
    if (group.site == site) return &group;
  }
  return nullptr;
}

float StaticScale(double range, DataType dtype) {
  const float scale = RoundToStored(static_cast<float>(range / 127.5), dtype);
  return scale > 0 ? scale : 1;
}

LayerPolicy DecidePolicy(const ModelConfig& config, const QuantRecipe& recipe, int64_t layer,
                         const SourceLayer& weights, const LayerStatistics& statistics) {
  LayerPolicy policy;
  for (const ActSite site : kAllActSites) {
    const SiteStatistics& inputs = statistics[static_cast<size_t>(site)];
    const EqualizationGroup* group = FindEqualization(*config.arch, site);
    SitePolicy& decision = policy[static_cast<size_t>(site)];
    decision.layer = layer;
    decision.site = site;
    decision.range = inputs.Range();
    const SchemeChoice choice = ChooseScheme(recipe, decision.range, group != nullptr);
    decision.scheme = choice.scheme;
    decision.reason = choice.reason;
    decision.equalized_range = decision.range;
    if (decision.scheme == ActScheme::kLaeStatic) {
      std::vector<float> norm = weights.norm(site);
      std::vector<float> scales = LaeScales(inputs.absmax);
      FoldIntoNorm(norm, config.dtype, scales);
      decision.equalized_range = EqualizedRange(inputs.absmax, scales);
    }
    if (decision.scheme != ActScheme::kDynamic) {
      decision.scale = StaticScale(decision.equalized_range, config.dtype);
    }
    decision.group_size = GroupSizeFor(SiteInputs(config, site), recipe.group_size,
                                       fmt::format("layer {}, {}", layer, ActSiteName(site)));
  }
  return policy;
}

}  // namespace fptq
