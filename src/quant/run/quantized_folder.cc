#include "quant/run/quantized_folder.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "files/json_file.h"
#include "io/compressed_tensors.h"
#include "io/sharded_writer.h"
#include "quant/run/companions.h"
#include "quant/run/outer_tensors.h"

namespace fptq {
namespace {

namespace fs = std::filesystem;
constexpr std::string_view kConfig = "config.json", kReport = "fptq.json";
using StoredTensor = SafetensorsWriter::Tensor;

// All tensors of the folder: those outside the layers, and the layers'. Returns their bytes.
int64_t WriteTensors(const ModelSource& source, const QuantRecipe& recipe,
                     const TensorSpool& layers, const fs::path& folder, ThreadPool& pool) {
  const DataType dtype = source.config().dtype;
  const std::vector<UsedTensor> outer = source.OuterTensors();
  std::vector<StoredTensor> tensors;
  for (const UsedTensor& from : outer) {
    std::ranges::copy(StoredAs(from, OuterQuantization(source, recipe, from), dtype),
                      std::back_inserter(tensors));
  }
  for (const TensorSpool::Entry& entry : layers.entries()) tensors.push_back(entry.tensor);

  ShardedWriter writer(folder, tensors);
  for (const UsedTensor& from : outer) {
    WriteOuterTensor(from, OuterQuantization(source, recipe, from), dtype, pool, writer);
  }
  layers.ForEach([&](const StoredTensor& tensor, std::span<const std::byte> bytes) {
    writer.Write(tensor.name, bytes);
  });
  writer.Close();
  return writer.TensorBytes();
}

// --- config.json ---

ActivationQuantization QuantizationOf(ActScheme scheme) {
  switch (scheme) {
    case ActScheme::kStatic:
      return ActivationQuantization::kStaticTensor;
    case ActScheme::kDynamic:
      return ActivationQuantization::kDynamicToken;
    case ActScheme::kFloat:
      return ActivationQuantization::kNone;
  }
  return {};
}

Json ConfigJson(const ModelSource& source, const SpecialTokens& special, const QuantRecipe& recipe,
                const QuantizeReport& report) {
  const ModelConfig& config = source.config();
  const std::vector<SitePolicy>& sites = report.sites;  // by layer and site
  std::map<std::string_view, int> bits;
  for (const LinearReport& linear : report.linears) {
    bits[linear.name] = static_cast<int>(linear.bits);
  }
  using Target = std::pair<std::string, LinearQuantization>;
  std::vector<Target> linears;
  std::vector<std::string> ignore;
  size_t first_site = 0;  // of the layer
  for (int64_t layer = 0; layer < config.layers; ++layer) {
    for (const LayerLinear& linear : LinearsOf(config, layer)) {
      const SitePolicy& site = sites[first_site + SiteIndex(config, linear.site())];
      const std::string name = ModelSource::HfName(linear);
      if (!site.quantizes_weights()) {
        ignore.push_back(name);
        continue;
      }
      linears.emplace_back(name,
                           LinearQuantization{.group_size = site.group_size,
                                              .activations = QuantizationOf(site.choice.scheme),
                                              .weight_bits = bits.at(name),
                                              .symmetric = !site.HasZeroPoints(bits.at(name))});
    }
    std::ranges::copy(source.FloatLinearNames(layer), std::back_inserter(ignore));
    first_site += SitesOf(config, layer).size();
  }
  const std::string head = ModelSource::HfName(source.arch().head);
  for (const UsedTensor& tensor : source.OuterTensors()) {
    if (const auto how = OuterQuantization(source, recipe, tensor)) {
      linears.emplace_back(ModuleOf(tensor), *how);
    }
  }
  if (std::ranges::find(linears, head, &Target::first) == linears.end()) {
    ignore.insert(ignore.begin(), head);
  }
  Json json = source.HfConfig();
  WriteSpecialTokens(special, json);
  json["quantization_config"] = CompressedTensorsJson(linears, ignore);
  return json;
}

}  // namespace

bool IsQuantizedFolderFile(std::string_view name) {
  return name == kConfig || name == kReport || IsCompanion(name) || ShardedWriter::IsFile(name);
}

void WriteQuantizedFolder(const ModelSource& source, const ModelText& text,
                          const QuantRecipe& recipe, const TensorSpool& layers,
                          const fs::path& folder, ThreadPool& pool, QuantizeReport& report) {
  report.output_bytes = WriteTensors(source, recipe, layers, folder, pool);
  WriteJsonFile(folder / kConfig, ConfigJson(source, text.special_tokens, recipe, report));
  WriteCompanions(source, text, folder);
  WriteJsonFile(folder / kReport, ReportToJson(report, recipe));
}

}  // namespace fptq
