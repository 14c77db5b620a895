#include "quant/run/layer_record.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <string>

#include "base/error.h"

namespace fptq {
namespace {

constexpr const char* kWhere = "journal";

// --- Sites ---

// The names of choices are those of recipes.
Json SiteToJson(const SitePolicy& site) {
  Json alternatives = Json::array();
  for (const Alternative& alternative : site.alternatives) {
    alternatives.push_back(
        {{"choice", ActChoiceName(alternative.choice)}, {"error", alternative.error}});
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
          {"symmetric", site.symmetric},
          {"reason", site.reason},
          {"notes", site.notes},
          {"alternatives", alternatives}};
}

ActChoice Choice(const JsonFields& fields) {
  return ActChoiceFromName(fields.String("choice"), kWhere);
}

float Float(double value) {
  if (!(std::abs(value) <= std::numeric_limits<float>::max())) {
    throw Error("{}: expected a float, found {}", kWhere, value);
  }
  return static_cast<float>(value);
}

// `size` of them, or none where that `may_be_empty`.
std::vector<float> Floats(const Json& json, int64_t size, bool may_be_empty) {
  if (std::ssize(json) != size && !(may_be_empty && json.empty())) {
    throw Error("{}: expected {} numbers, found {}", kWhere, size, json.size());
  }
  std::vector<float> values;
  for (const Json& value : json) {
    if (!value.is_number())
      throw Error("{}: expected a number, found {}", kWhere, value.type_name());
    values.push_back(Float(value.get<double>()));
  }
  return values;
}

SitePolicy SiteFromJson(const Json& json, const ModelConfig& config, int64_t layer,
                        const SiteId& id) {
  const JsonFields fields(json, kWhere);
  const int64_t k = SiteInputs(config, id);
  SitePolicy site{
      .layer = fields.Int("layer", layer, layer),
      .site = id,
      .range = fields.Double("range"),
      .channel_absmax = Floats(fields.Array("channel_absmax"), k, /*may_be_empty=*/false),
      .weight_exponent = fields.Double("weight_exponent"),
      .choice = Choice(fields),
      .equalized_range = fields.Double("equalized_range"),
      .channel_scales = Floats(fields.Array("channel_scales"), k, /*may_be_empty=*/true),
      .scale = Float(fields.Double("scale")),
      .group_size = fields.Int("group_size", 0, k),
      .symmetric = fields.BoolOr("symmetric", true),
      .reason = fields.String("reason"),
      .notes = {},
      .alternatives = {}};
  for (const Json& note : fields.Array("notes")) {
    if (!note.is_string()) {
      throw Error("{}: notes: expected a string, found {}", kWhere, note.type_name());
    }
    site.notes.push_back(note.get<std::string>());
  }
  for (const Json& item : fields.Array("alternatives")) {
    const JsonFields alternative(item, kWhere);
    site.alternatives.push_back({Choice(alternative), alternative.Double("error")});
  }
  return site;
}

// --- Layers ---

Json ResultToJson(const LayerResult& result) {
  Json sites = Json::array(), linears = Json::array();
  for (const SitePolicy& site : result.policy) sites.push_back(SiteToJson(site));
  for (const LinearReport& linear : result.linears) {
    linears.push_back({{"name", linear.name},
                       {"bits", linear.bits},
                       {"group_size", linear.group_size},
                       {"weight_error", linear.weight_error}});
  }
  return {{"sites", sites},
          {"linears", linears},
          {"linear_weights", result.linear_weights},
          {"linear_bytes", result.linear_bytes}};
}

LayerResult ResultFromJson(const Json& json, const ModelConfig& config, int64_t layer) {
  const JsonFields fields(json, kWhere);
  const Json& found = fields.Array("sites");
  const std::vector<SiteId> sites = SitesOf(config, layer);
  if (found.size() != sites.size()) {
    throw Error("{}: expected {} sites, found {}", kWhere, sites.size(), found.size());
  }
  LayerResult result;
  int64_t widest = 0;
  for (size_t i = 0; i < sites.size(); ++i) {
    result.policy.push_back(SiteFromJson(found[i], config, layer, sites[i]));
    widest = std::max(widest, SiteInputs(config, sites[i]));
  }
  const int64_t weights = WeightsOf(config, layer);
  for (const Json& item : fields.Array("linears")) {
    const JsonFields linear(item, kWhere);
    result.linears.push_back({.name = linear.String("name"),
                              .bits = linear.Int("bits", 4, 8),
                              .group_size = linear.Int("group_size", 0, widest),
                              .weight_error = linear.Double("weight_error")});
  }
  constexpr int64_t kMostBytes = 8;  // of a weight, its scale included
  result.linear_weights = fields.Int("linear_weights", 0, weights);
  result.linear_bytes = fields.Int("linear_bytes", 0, weights * kMostBytes);
  return result;
}

// --- Tensors ---

Json TensorToJson(const TensorSpool::Entry& entry) {
  return {{"name", entry.tensor.name},
          {"dtype", DataTypeName(entry.tensor.type)},
          {"shape", entry.tensor.shape},
          {"checksum", entry.checksum}};
}

TensorSpool::Entry TensorFromJson(const Json& json) {
  const JsonFields fields(json, kWhere);
  TensorSpool::Entry entry = {
      .tensor = {fields.String("name"), ParseDtype(fields), ParseShape(fields)},
      .checksum = static_cast<uint32_t>(fields.Int("checksum", 0, UINT32_MAX))};
  if (entry.tensor.Bytes() == 0) throw Error("{}: {} is empty", kWhere, entry.tensor.name);
  return entry;
}

// What the names of a layer's tensors begin with: "model.layers.3.".
std::string LayerPrefix(const ModelConfig& config, int64_t layer) {
  const std::string name = ModelSource::HfName(config.arch->linears[0].module, layer);
  const std::string number = fmt::format(".{}.", layer);
  return name.substr(0, name.find(number) + number.size());
}

// Their names differ from each other and from those of other layers.
std::vector<TensorSpool::Entry> TensorsFromJson(const Json& json, const std::string& prefix) {
  std::vector<TensorSpool::Entry> tensors;
  std::set<std::string> names;
  for (const Json& item : json) {
    const std::string& name = tensors.emplace_back(TensorFromJson(item)).tensor.name;
    if (!name.starts_with(prefix) || !names.insert(name).second) {
      throw Error("{}: expected another tensor of {}, found {}", kWhere, prefix, name);
    }
  }
  return tensors;
}

}  // namespace

Json LayerRecordToJson(const LayerResult& result, std::span<const TensorSpool::Entry> tensors,
                       uint32_t hidden_checksum) {
  Json list = Json::array();
  for (const TensorSpool::Entry& tensor : tensors) list.push_back(TensorToJson(tensor));
  return {{"tensors", list}, {"result", ResultToJson(result)}, {"hidden", hidden_checksum}};
}

LayerRecord LayerRecordFromJson(const Json& json, const ModelConfig& config, int64_t layer) {
  const JsonFields fields(json, kWhere);
  return {.result = ResultFromJson(fields.Object("result"), config, layer),
          .tensors = TensorsFromJson(fields.Array("tensors"), LayerPrefix(config, layer)),
          .hidden_checksum = static_cast<uint32_t>(fields.Int("hidden", 0, UINT32_MAX))};
}

Json CalibrationToJson(const CalibrationSet& set) { return {{"calibration", set.sequences}}; }

CalibrationSet CalibrationFromJson(const Json& json, const ModelConfig& config) {
  CalibrationSet set;
  for (const Json& sequence : JsonFields(json, kWhere).Array("calibration")) {
    if (!sequence.is_array() || sequence.empty() || std::ssize(sequence) > config.max_positions) {
      throw Error("{}: expected 1 to {} tokens, found something else", kWhere,
                  config.max_positions);
    }
    std::vector<int32_t>& tokens = set.sequences.emplace_back();
    for (const Json& token : sequence) {
      if (!token.is_number_unsigned() ||
          token.get<uint64_t>() >= static_cast<uint64_t>(config.vocab)) {
        throw Error("{}: expected a token, found something else", kWhere);
      }
      tokens.push_back(token.get<int32_t>());
    }
  }
  if (set.sequences.empty()) throw Error("{}: expected calibration sequences, found none", kWhere);
  return set;
}

}  // namespace fptq
