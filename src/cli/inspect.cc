#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <set>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/tensor.h"
#include "cli/arguments.h"
#include "cli/load.h"
#include "cli/subcommands.h"
#include "cli/terminal.h"
#include "files/json_file.h"
#include "files/paths.h"
#include "model/kv_cache.h"
#include "model/model_text.h"
#include "quant/run/readers.h"

namespace fptq {
namespace {

Json DescribeConfig(const ModelConfig& config) {
  const auto windowed = std::ranges::count_if(config.windows, [](int64_t w) { return w > 0; });
  Json json = {{"architecture", config.arch->name},
               {"layers", config.layers},
               {"hidden", config.hidden},
               {"heads", config.heads},
               {"kv_heads", config.kv_heads},
               {"head_dim", config.head_dim},
               {"mlp", config.mlp},
               {"vocab", config.vocab},
               {"max_positions", config.max_positions},
               {"norm_epsilon", config.norm_epsilon},
               {"rotary", config.rotary},
               {"rope_theta", config.rope.theta},
               {"alibi", config.alibi},
               {"windowed_layers", windowed},
               {"tied_head", config.tied_head}};
  if (const Mixture& mixture = config.mixture; mixture.experts > 0) {
    json.update({{"experts", mixture.experts},
                 {"experts_of_a_token", mixture.active},
                 {"expert_mlp", mixture.width},
                 {"shared_expert_mlp", mixture.shared_width}});
  }
  return json;
}

// Empty if the tokenizer cannot be used: there may be none, or one that is not supported.
Json DescribeSpecialTokens(const ModelSource& source) {
  try {
    const ModelText text = LoadText(source);
    NoteWarnings(text.warnings);
    return {{"bos_token", text.special_tokens.bos}, {"eos_tokens", text.special_tokens.eos}};
  } catch (const Error& error) {
    NoteWarnings({error.what()});
    return Json::object();
  }
}

Json DescribeTensors(const Checkpoint& checkpoint) {
  Json tensors = Json::array();
  for (const auto& [name, tensor] : checkpoint.tensors()) {
    tensors.push_back({{"name", name},
                       {"type", DataTypeName(tensor.type)},
                       {"shape", tensor.shape},
                       {"bytes", tensor.bytes.size()}});
  }
  return tensors;
}

struct LinearSize {
  int64_t weights = 0;
  int64_t bytes = 0;  // scales included

  double BitsPerWeight() const {
    return 8.0 * static_cast<double>(bytes) / static_cast<double>(weights);
  }
};

// Of the layers' linears, whatever tensors they are stored in.
LinearSize SizeOfLinears(const ModelSource& source) {
  LinearSize size;
  const auto& tensors = source.checkpoint().tensors();
  for (int64_t layer = 0; layer < source.config().layers; ++layer) {
    size.weights += WeightsOf(source.config(), layer);
    std::set<std::string> prefixes;  // all experts may be one tensor
    for (const LayerLinear& linear : LinearsOf(source.config(), layer)) {
      prefixes.insert(source.Name(linear) + ".");
    }
    for (const std::string& prefix : prefixes) {
      for (auto it = tensors.lower_bound(prefix);
           it != tensors.end() && it->first.starts_with(prefix); ++it) {
        size.bytes += std::ssize(it->second.bytes);
      }
    }
  }
  return size;
}

std::string FormatName(const ModelSource& source) {
  if (source.quantized()) {
    return source.quantization()->name();
  }
  return source.checkpoint().format() == Checkpoint::Format::kGguf ? "GGUF"
                                                                   : "Hugging Face safetensors";
}

// How linears are stored, and how they run.
Json DescribeScheme(const std::optional<LinearQuantization>& how) {
  if (!how) return {{"weights", "float"}, {"activations", "float"}, {"runs_as", "float32"}};
  const bool whole_row = how->group_size == LinearQuantization::kWholeRow;
  const std::string scales = how->per_tensor ? "per tensor"
                             : whole_row     ? "per channel"
                                             : fmt::format("per group of {}", how->group_size);
  std::string_view activations = "float", runs_as = "float32";
  if (how->activations != ActivationQuantization::kNone) {
    const bool token = how->activations == ActivationQuantization::kDynamicToken;
    activations = token ? "int8 per token" : "int8 static";
    runs_as = how->weight_bits == 4 ? "W4A8" : "W8A8";
  }
  return {{"weights",
           fmt::format("int{} {}", how->weight_bits, how->symmetric ? "symmetric" : "asymmetric")},
          {"scales", scales},
          {"activations", activations},
          {"runs_as", runs_as}};
}

// The schemes of a quantized model and how many linears have each.
Json DescribeQuantization(const ModelSource& source) {
  std::vector<std::pair<Json, int64_t>> schemes;
  const auto add = [&](const std::optional<LinearQuantization>& how) {
    const Json scheme = DescribeScheme(how);
    auto found = std::ranges::find(schemes, scheme, &std::pair<Json, int64_t>::first);
    if (found == schemes.end()) found = schemes.insert(found, {scheme, 0});
    ++found->second;
  };
  for (int64_t layer = 0; layer < source.config().layers; ++layer) {
    for (const LayerLinear& linear : LinearsOf(source.config(), layer)) {
      add(source.quantization()->Find(source.Name(linear)));
    }
  }
  if (source.packed_head()) add(source.packed_head()->quantization);
  Json result = Json::array();
  for (const auto& [scheme, linears] : schemes) {
    Json row = {{"linears", linears}};
    row.update(scheme);
    result.push_back(std::move(row));
  }
  return result;
}

Json Describe(const ModelSource& source, const std::string& path) {
  const LinearSize linears = SizeOfLinears(source);
  const ModelConfig& config = source.config();
  const int64_t page = KvCache::PageBytes(config, DefaultKvType(source.quantized()), config.layers);
  Json description = {{"path", path},
                      {"format", FormatName(source)},
                      {"quantized", source.quantized()},
                      {"config", DescribeConfig(config)},
                      {"bytes", source.checkpoint().TensorBytes()},
                      {"linear_weights", linears.weights},
                      {"linear_bytes", linears.bytes},
                      {"bits_per_weight", linears.BitsPerWeight()},
                      {"kv_bytes_per_position", page / kKvBlock},
                      {"kv_bytes", CheckedMultiply(PagesFor(config.max_positions), page, path)},
                      {"tensors", DescribeTensors(source.checkpoint())}};
  description["config"].update(DescribeSpecialTokens(source));
  if (source.quantized()) description["quantization"] = DescribeQuantization(source);
  const std::filesystem::path report = std::filesystem::path(path) / "fptq.json";
  if (Exists(report)) {
    const Json json = ReadJsonFile(report);
    description["policy"] = JsonFields(json, report.string()).Array("sites");
  }
  return description;
}

Json DescribeReaders(const ModelSource& source) {
  Json rows = Json::array();
  for (const Reader& reader : ReadersOf(source)) {
    rows.push_back({{"reader", reader.name}, {"reads", reader.reads}, {"reason", reader.reason}});
  }
  return rows;
}

std::string CellText(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_number_float()) return fmt::format("{:.6g}", value.get<double>());
  return DumpJson(value);
}

// One row an object, one column a field; a field that an object does not have is left blank.
void PrintObjects(const Json& objects, const std::vector<std::string>& fields,
                  std::string_view alignment) {
  std::vector<std::vector<std::string>> rows = {fields};
  for (const Json& object : objects) {
    auto& row = rows.emplace_back();
    for (const std::string& field : fields) {
      const auto found = object.find(field);
      row.push_back(found == object.end() ? "" : CellText(*found));
    }
  }
  PrintTable(rows, alignment);
}

void PrintDescription(const Json& description) {
  Print(fmt::format("{}: {}\n\n", description["path"].get<std::string>(),
                    description["format"].get<std::string>()));
  std::vector<std::vector<std::string>> config;
  for (const auto& [name, value] : description["config"].items())
    config.push_back({name, CellText(value)});
  PrintTable(config, "ll");
  Print(fmt::format(
      "\n{} tensors, {}; {} weights in the layers' linears, {:.2f} bits each, scales included\n",
      description["tensors"].size(), FormatBytes(description["bytes"].get<int64_t>()),
      FormatCount(description["linear_weights"].get<int64_t>()),
      description["bits_per_weight"].get<double>()));
  Print(fmt::format("KV cache: {} a position, {} for {} positions\n\n",
                    FormatBytes(description["kv_bytes_per_position"].get<int64_t>()),
                    FormatBytes(description["kv_bytes"].get<int64_t>()),
                    description["config"]["max_positions"].get<int64_t>()));
  PrintObjects(description["tensors"], {"name", "type", "shape", "bytes"}, "lllr");
  if (description.contains("quantization")) {
    Print("\n");
    PrintObjects(description["quantization"],
                 {"linears", "weights", "scales", "activations", "runs_as"}, "rllll");
  }
  if (description.contains("policy")) {
    Print("\n");
    PrintObjects(description["policy"],
                 {"layer", "site", "range", "scheme", "scale", "group_size", "reason"}, "rlrlrrl");
  }
}

}  // namespace

int RunInspect(int argc, char** argv) {
  CLI::App app("Shows what a model file holds: config, tensors, bits per weight, policy.",
               "fptq inspect");
  std::string path, pre_tokenizer;
  bool json = false, readers = false;
  app.add_option("MODEL", path,
                 "quantized folder, or float model: Hugging Face folder or GGUF file")
      ->required();
  AddPreTokenizer(app, pre_tokenizer);
  app.add_flag("--json", json, "print one JSON object");
  app.add_flag("--readers", readers,
               "only say which other engines run it as it is, and why others do not");
  if (!ParseArguments(app, argc, argv)) return 0;

  const ModelSource source = OpenSourceAndWarn(Locate(path, pre_tokenizer));
  const Json description = readers ? DescribeReaders(source) : Describe(source, path);
  if (json) {
    Print(DumpJson(description, 2) + "\n");
  } else if (readers) {
    PrintObjects(description, {"reader", "reads", "reason"}, "lll");
  } else {
    PrintDescription(description);
  }
  return 0;
}

}  // namespace fptq
