#include "quant/layer_record.h"

namespace fptq {
namespace {

// The names of choices are those of recipes.
Json SiteToJson(const SitePolicy& site) {
  Json alternatives = Json::array();
  for (const Alternative& alternative : site.alternatives) {
    alternatives.push_back({ActChoiceName(alternative.choice), alternative.error});
  }
  return {{"layer", site.layer},
          {"range", site.range},
          {"channel_absmax", site.channel_absmax},
          {"weight_exponent", site.weight_exponent},
          {"choice", ActChoiceName(site.choice)},
          {"equalized_range", site.equalized_range},
          {"channel_scales", site.channel_scales},
          {"scale", site.scale},
          {"group_size", site.group_size},
          {"reason", site.reason},
          {"alternatives", alternatives}};
}

SitePolicy SiteFromJson(const Json& json, ActSite act_site) {
  SitePolicy site{.layer = json["layer"].get<int64_t>(),
                  .site = act_site,
                  .range = json["range"].get<double>(),
                  .channel_absmax = json["channel_absmax"].get<std::vector<float>>(),
                  .weight_exponent = json["weight_exponent"].get<double>(),
                  .choice = ActChoiceFromName(json["choice"].get<std::string>(), "journal"),
                  .equalized_range = json["equalized_range"].get<double>(),
                  .channel_scales = json["channel_scales"].get<std::vector<float>>(),
                  .scale = json["scale"].get<float>(),
                  .group_size = json["group_size"].get<int64_t>(),
                  .reason = json["reason"].get<std::string>(),
                  .alternatives = {}};
  for (const Json& alternative : json["alternatives"]) {
    site.alternatives.push_back({ActChoiceFromName(alternative[0].get<std::string>(), "journal"),
                                 alternative[1].get<double>()});
  }
  return site;
}

}  // namespace

Json LayerResultToJson(const LayerResult& result) {
  Json sites = Json::array(), linears = Json::array();
  for (const SitePolicy& site : result.policy) sites.push_back(SiteToJson(site));
  for (const LinearReport& linear : result.linears) {
    linears.push_back({linear.name, linear.group_size, linear.weight_error});
  }
  return {{"sites", sites},
          {"linears", linears},
          {"linear_weights", result.linear_weights},
          {"linear_bytes", result.linear_bytes}};
}

LayerResult LayerResultFromJson(const Json& json) {
  LayerResult result;
  for (const ActSite site : kAllActSites) {
    const auto index = static_cast<size_t>(site);
    result.policy[index] = SiteFromJson(json["sites"][index], site);
  }
  for (const Json& linear : json["linears"]) {
    result.linears.push_back({.name = linear[0].get<std::string>(),
                              .group_size = linear[1].get<int64_t>(),
                              .weight_error = linear[2].get<double>()});
  }
  result.linear_weights = json["linear_weights"].get<int64_t>();
  result.linear_bytes = json["linear_bytes"].get<int64_t>();
  return result;
}

// Types as numbers: only the build that wrote a journal reads it.
Json EntriesToJson(std::span<const TensorSpool::Entry> entries) {
  Json json = Json::array();
  for (const auto& [tensor, bytes, checksum] : entries) {
    json.push_back({tensor.name, static_cast<int>(tensor.type), tensor.shape, bytes, checksum});
  }
  return json;
}

std::vector<TensorSpool::Entry> EntriesFromJson(const Json& json) {
  std::vector<TensorSpool::Entry> entries;
  for (const Json& entry : json) {
    entries.push_back({.tensor = {.name = entry[0].get<std::string>(),
                                  .type = static_cast<DataType>(entry[1].get<int>()),
                                  .shape = entry[2].get<std::vector<int64_t>>()},
                       .bytes = entry[3].get<int64_t>(),
                       .checksum = entry[4].get<uint32_t>()});
  }
  return entries;
}

}  // namespace fptq
