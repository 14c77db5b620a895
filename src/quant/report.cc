#include "quant/report.h"

#include <algorithm>

namespace fptq {
namespace {

// Of fptq.json; raised when a field changes its meaning.
constexpr int kFormatVersion = 1;

Json SiteToJson(const SitePolicy& site) {
  Json json = {{"layer", site.layer},
               {"site", ActSiteName(site.site)},
               {"range", site.range},
               {"scheme", ActSchemeName(site.scheme)}};
  if (site.scheme == ActScheme::kLaeStatic) json["equalized_range"] = site.equalized_range;
  if (site.scheme != ActScheme::kDynamic) json["scale"] = site.scale;
  json["group_size"] = site.group_size;
  json["reason"] = site.reason;
  return json;
}

}  // namespace

double QuantizeReport::BitsPerWeight() const {
  return 8 * static_cast<double>(linear_bytes) / static_cast<double>(linear_weights);
}

int64_t QuantizeReport::CountSites(ActScheme scheme) const {
  return std::ranges::count(sites, scheme, &SitePolicy::scheme);
}

Json ReportToJson(const QuantizeReport& report, const QuantRecipe& recipe) {
  Json sites = Json::array();
  for (const SitePolicy& site : report.sites) sites.push_back(SiteToJson(site));
  Json linears = Json::array();
  for (const LinearReport& linear : report.linears) {
    linears.push_back({{"name", linear.name},
                       {"group_size", linear.group_size},
                       {"weight_error", linear.weight_error}});
  }
  return {{"format_version", kFormatVersion},
          {"recipe", RecipeToJson(recipe)},
          {"bits_per_weight", report.BitsPerWeight()},
          {"sites", sites},
          {"linears", linears}};
}

}  // namespace fptq
