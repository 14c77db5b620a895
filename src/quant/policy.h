// The decision that FPTQ makes for each activation site from the range of its activations.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "model/source.h"
#include "quant/observer.h"
#include "quant/recipe.h"

namespace fptq {

enum class ActScheme {
  kStatic,     // per tensor, one scale known before running
  kLaeStatic,  // equalized, then per tensor static
  kDynamic,    // per token
};
std::string_view ActSchemeName(ActScheme scheme);  // "static", "lae_static", "dynamic"

// What is decided for a site of a layer, and why.
struct SitePolicy {
  int64_t layer = 0;
  ActSite site = ActSite::kAttnIn;
  double range = 0;  // v = max|X| over the calibration tokens
  ActScheme scheme = ActScheme::kDynamic;
  double equalized_range = 0;  // max|X'| after LAE; v if not equalized
  float scale = 0;             // static: as stored; 0 if dynamic
  int64_t group_size = 0;      // of the weights of the site's linears
  std::string reason;
};

// The paper's rule: v <= v0 static; v0 < v < v1 LAE, then static; v >= v1 dynamic. Where the rule
// asks for LAE but there is no norm to fold it into, or equalization is switched off, the site is
// dynamic.
struct SchemeChoice {
  ActScheme scheme;
  std::string reason;
};
SchemeChoice ChooseScheme(const QuantRecipe& recipe, double range, bool can_equalize);

// The norm to fold LAE of this site into; null if there is none.
const EqualizationGroup* FindEqualization(const ArchSpec& arch, ActSite site);

// The scale of static int8 quantization for activations up to `range`, rounded to `dtype` as it is
// stored: range / 127.5, since q = clamp(round(x / scale), -128, 127); 1 for a range of 0, or so
// small that the type has no such scale.
float StaticScale(double range, DataType dtype);

using LayerPolicy = std::array<SitePolicy, kActSites>;  // by ActSite

// The policy of the sites of a layer, from its float weights and statistics.
LayerPolicy DecidePolicy(const ModelConfig& config, const QuantRecipe& recipe, int64_t layer,
                         const SourceLayer& weights, const LayerStatistics& statistics);

}  // namespace fptq
