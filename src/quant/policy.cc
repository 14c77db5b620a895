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

std::vector<SitePolicy> DecidePolicy(const ModelSource& source, const QuantRecipe& recipe,
                                     std::span<const LayerStats> stats) {
  const DataType dtype = source.config().dtype;
  std::vector<SitePolicy> policy;
  for (int64_t layer = 0; layer < std::ssize(stats); ++layer) {
    for (const ActSite site : kAllActSites) {
      const ActivationStats& activations =
          stats[static_cast<size_t>(layer)][static_cast<size_t>(site)];
      const EqualizationGroup* group = FindEqualization(source.arch(), site);
      SitePolicy decision;
      decision.layer = layer;
      decision.site = site;
      decision.range = activations.Range();
      const SchemeChoice choice = ChooseScheme(recipe, decision.range, group != nullptr);
      decision.scheme = choice.scheme;
      decision.reason = choice.reason;
      decision.equalized_range = decision.range;
      if (decision.scheme == ActScheme::kLaeStatic) {
        std::vector<float> norm = source.ReadVector(source.Name(group->producer, layer));
        std::vector<float> scales = LaeScales(activations.absmax);
        FoldIntoNorm(norm, dtype, scales);
        decision.equalized_range = EqualizedRange(activations.absmax, scales);
      }
      if (decision.scheme != ActScheme::kDynamic) {
        decision.scale = StaticScale(decision.equalized_range, dtype);
      }
      decision.group_size = GroupSizeFor(SiteInputs(source.config(), site), recipe.group_size,
                                         fmt::format("layer {}, {}", layer, ActSiteName(site)));
      policy.push_back(std::move(decision));
    }
  }
  return policy;
}

}  // namespace fptq
