#include "quant/quantized_folder.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "base/atomic_write.h"
#include "base/error.h"
#include "io/compressed_tensors.h"
#include "quant/companions.h"
#include "quant/sharded_writer.h"
#include "quant/storage.h"

namespace fptq {
namespace {

namespace fs = std::filesystem;
using StoredTensor = SafetensorsWriter::Tensor;

// A matrix that stays float, some rows at a time.
void WriteFloatMatrix(const TensorView& matrix, const std::string& name, DataType dtype,
                      ShardedWriter& writer) {
  constexpr int64_t kRows = 1024;
  const int64_t rows = matrix.shape[0], k = matrix.shape[1];
  std::vector<float> values;
  for (int64_t row = 0; row < rows; row += kRows) {
    values.resize(static_cast<size_t>(std::min(kRows, rows - row) * k));
    DequantizeRange(matrix, row * k, values);
    CheckFinite(values, fmt::format("tensor '{}', from row {}", name, row));
    writer.Write(name, StoreFloats(values, dtype));
  }
}

// All tensors of the folder: those of the layers, and what stays float. Returns their bytes.
int64_t WriteTensors(const ModelSource& source, const TensorSpool& layers, const fs::path& folder) {
  const ModelConfig& config = source.config();
  const ArchSpec& arch = source.arch();
  const std::vector<int64_t> embedding_shape = {config.vocab, config.hidden};
  const StoredTensor embedding = {ModelSource::HfName(arch.embedding), config.dtype,
                                  embedding_shape};
  const StoredTensor norm = {ModelSource::HfName(arch.final_norm), config.dtype, {config.hidden}};
  const StoredTensor head = {ModelSource::HfName(arch.head) + ".weight", config.dtype,
                             embedding_shape};
  std::vector<StoredTensor> tensors = {embedding};
  for (const TensorSpool::Entry& entry : layers.entries()) tensors.push_back(entry.tensor);
  tensors.push_back(norm);
  if (!config.tied_head) tensors.push_back(head);

  ShardedWriter writer(folder, tensors);
  WriteFloatMatrix(source.embedding(), embedding.name, config.dtype, writer);
  layers.ForEach([&](const StoredTensor& tensor, std::span<const std::byte> bytes) {
    writer.Write(tensor.name, bytes);
  });
  writer.Write(norm.name,
               StoreFloats(source.ReadVector(source.Name(arch.final_norm)), config.dtype));
  if (!config.tied_head) WriteFloatMatrix(source.head(), head.name, config.dtype, writer);
  writer.Close();
  return writer.TensorBytes();
}

// --- The other files ---

void WriteJson(const fs::path& path, const Json& json) {
  WriteFileAtomically(path, json.dump(2, ' ', /*ensure_ascii=*/false) + "\n");
}

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

// `sites` by layer and site.
Json ConfigJson(const ModelSource& source, const QuantRecipe& recipe,
                std::span<const SitePolicy> sites) {
  std::vector<std::pair<std::string, LinearQuantization>> linears;
  for (int64_t layer = 0; layer < source.config().layers; ++layer) {
    for (const LinearSpec& spec : source.arch().linears) {
      const auto index = static_cast<size_t>(layer * kActSites + static_cast<int>(spec.site));
      linears.emplace_back(
          ModelSource::HfName(spec.module, layer),
          LinearQuantization{sites[index].group_size, QuantizationOf(sites[index].choice.scheme),
                             static_cast<int>(recipe.weight_bits)});
    }
  }
  const std::vector<std::string> ignore = {ModelSource::HfName(source.arch().head)};
  Json json = source.HfConfig();
  json["quantization_config"] = CompressedTensorsJson(linears, ignore);
  return json;
}

}  // namespace

void WriteQuantizedFolder(const ModelSource& source, const TokenizerFiles& tokenizer,
                          const QuantRecipe& recipe, const TensorSpool& layers,
                          const fs::path& folder, QuantizeReport& report) {
  report.output_bytes = WriteTensors(source, layers, folder);
  WriteJson(folder / "config.json", ConfigJson(source, recipe, report.sites));
  WriteCompanions(source, tokenizer, folder);
  WriteJson(folder / "fptq.json", ReportToJson(report, recipe));
}

}  // namespace fptq
