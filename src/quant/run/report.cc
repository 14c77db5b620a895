#include "quant/run/report.h"

#include <algorithm>
#include <utility>

namespace fptq {
namespace {

// Of fptq.json; raised when a field changes its meaning.
constexpr int kFormatVersion = 1;

// The least, the value that 10 %, 20 %, ... do not exceed, the largest.
std::vector<float> Deciles(std::vector<float> values) {
  std::ranges::sort(values);
  std::vector<float> deciles;
  for (size_t i = 0; i <= 10 && !values.empty(); ++i) {
    deciles.push_back(values[(values.size() - 1) * i / 10]);
  }
  return deciles;
}

}  // namespace

Json SiteReportToJson(const SitePolicy& site) {
  Json json = {{"layer", site.layer},
               {"site", SiteName(site.site)},
               {"range", site.range},
               {"scheme", ActChoiceName(site.choice)}};
  if (site.weight_exponent != 0) json["weight_exponent"] = site.weight_exponent;
  json["channel_maxima"] = Deciles(site.channel_absmax);
  if (!site.channel_scales.empty()) {
    json["equalized_range"] = site.equalized_range;
    std::vector<float> equalized = site.channel_absmax;
    for (size_t j = 0; j < equalized.size(); ++j) equalized[j] /= site.channel_scales[j];
    json["equalized_channel_maxima"] = Deciles(std::move(equalized));
  }
  if (site.choice.scheme == ActScheme::kStatic) json["scale"] = site.scale;
  if (site.quantizes_weights()) {
    json["group_size"] = site.group_size;
    if (!site.symmetric) json["symmetric"] = false;
  }
  json["reason"] = site.reason;
  if (!site.notes.empty()) json["notes"] = site.notes;
  for (const Alternative& alternative : site.alternatives) {
    json["errors"][ActChoiceName(alternative.choice)] = alternative.error;
  }
  return json;
}

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
  for (const SitePolicy& site : report.sites) sites.push_back(SiteReportToJson(site));
  Json linears = Json::array();
  for (const LinearReport& linear : report.linears) {
    linears.push_back({{"name", linear.name},
                       {"bits", linear.bits},
                       {"group_size", linear.group_size},
                       {"weight_error", linear.weight_error}});
  }
  return {{"format_version", kFormatVersion},
          {"recipe", RecipeToJson(recipe)},
          {"calibration_tokens", report.calibration_tokens},
          {"bits_per_weight", report.BitsPerWeight()},
          {"sites", sites},
          {"linears", linears}};
}

}  // namespace fptq
