#include "quant/report.h"

namespace fptq {
namespace {

// Of fptq.json; raised when a field changes its meaning.
constexpr int kFormatVersion = 1;

Json SiteToJson(const SitePolicy& site) {
  Json json = {{"layer", site.layer},
               {"site", ActSiteName(site.site)},
               {"range", site.range},
               {"scheme", ActChoiceName(site.choice)}};
  if (site.weight_exponent != 0) json["weight_exponent"] = site.weight_exponent;
  if (!site.channel_scales.empty()) json["equalized_range"] = site.equalized_range;
  if (site.choice.scheme == ActScheme::kStatic) json["scale"] = site.scale;
  json["group_size"] = site.group_size;
  json["reason"] = site.reason;
  for (const Alternative& alternative : site.alternatives) {
    json["errors"][ActChoiceName(alternative.choice)] = alternative.error;
  }
  return json;
}

}  // namespace

double QuantizeReport::BitsPerWeight() const {
  return 8 * static_cast<double>(linear_bytes) / static_cast<double>(linear_weights);
}

std::map<std::string, int64_t> QuantizeReport::CountChoices() const {
  std::map<std::string, int64_t> counts;
  for (const SitePolicy& site : sites) ++counts[ActChoiceName(site.choice)];
  return counts;
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
