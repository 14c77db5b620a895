#include "quant/quantize.h"

#include <algorithm>
#include <chrono>
#include <iterator>
#include <string>
#include <utility>

#include "base/atomic_write.h"
#include "base/error.h"
#include "base/mapped_file.h"
#include "io/compressed_tensors.h"
#include "quant/calibrate.h"
#include "quant/equalize.h"
#include "quant/group_quant.h"
#include "quant/sharded_writer.h"
#include "quant/storage.h"

namespace fptq {
namespace {

namespace fs = std::filesystem;
using StoredTensor = SafetensorsWriter::Tensor;

// A float source with what calibration found out about it.
struct Plan {
  ModelSource source;
  TokenizerFiles tokenizer;
  std::vector<LayerStats> stats;  // by layer
  std::vector<SitePolicy> sites;  // by layer and site

  const SitePolicy& At(int64_t layer, ActSite site) const {
    return sites[static_cast<size_t>(layer * kActSites + static_cast<int>(site))];
  }
};

Plan MakePlan(const fs::path& path, const QuantRecipe& recipe, ThreadPool& pool,
              const Progress& progress) {
  Validate(recipe, "recipe");
  Plan plan{.source = ModelSource::Open(path), .tokenizer = {}, .stats = {}, .sites = {}};
  if (plan.source.quantized()) {
    throw Error("{}: expected a float model to quantize, found a quantized one", path.string());
  }
  for (const LinearSpec& linear : plan.source.arch().linears) {
    GroupSizeFor(SiteInputs(plan.source.config(), linear.site), recipe.group_size,
                 plan.source.Name(linear.module, 0));
  }
  plan.tokenizer = plan.source.LoadTokenizer();
  const CalibrationSet set =
      MakeCalibrationSet(recipe, plan.source.config(), Tokenizer(plan.tokenizer));
  plan.stats = Calibrate(plan.source, set, pool, progress);
  plan.sites = DecidePolicy(plan.source, recipe, plan.stats);
  return plan;
}

LinearQuantization QuantizationOf(const SitePolicy& site) {
  return {site.group_size, site.scheme == ActScheme::kDynamic
                               ? ActivationQuantization::kDynamicToken
                               : ActivationQuantization::kStaticTensor};
}

// --- Tensors ---

std::vector<StoredTensor> LinearTensors(const Plan& plan, const LinearSpec& spec, int64_t layer) {
  const ModelConfig& config = plan.source.config();
  const SitePolicy& site = plan.At(layer, spec.site);
  const std::string name = ModelSource::HfName(spec.module, layer);
  const int64_t channels = spec.channels(config);
  const int64_t k = SiteInputs(config, spec.site);
  std::vector<StoredTensor> tensors = {
      {name + ".weight_packed", DataType::kI32, {channels, k / 8}},
      {name + ".weight_scale", config.dtype, {channels, k / site.group_size}},
      {name + ".weight_shape", DataType::kI64, {2}}};
  if (site.scheme != ActScheme::kDynamic) {
    tensors.push_back({name + ".input_scale", config.dtype, {1}});
  }
  if (plan.source.checkpoint().Contains(plan.source.Name(spec.module, layer) + ".bias")) {
    tensors.push_back({name + ".bias", config.dtype, {channels}});
  }
  return tensors;
}

// All tensors of the folder, in the order in which they are written.
std::vector<StoredTensor> FolderTensors(const Plan& plan) {
  const ModelConfig& config = plan.source.config();
  const ArchSpec& arch = plan.source.arch();
  const std::vector<int64_t> norm = {config.hidden};
  const std::vector<int64_t> embedding = {config.vocab, config.hidden};
  std::vector<StoredTensor> tensors = {
      {ModelSource::HfName(arch.embedding), config.dtype, embedding}};
  for (int64_t layer = 0; layer < config.layers; ++layer) {
    tensors.push_back({ModelSource::HfName(arch.attn_norm, layer), config.dtype, norm});
    tensors.push_back({ModelSource::HfName(arch.mlp_norm, layer), config.dtype, norm});
    for (const ActSite site : kAllActSites) {
      for (const LinearSpec& spec : arch.linears) {
        if (spec.site == site)
          std::ranges::move(LinearTensors(plan, spec, layer), std::back_inserter(tensors));
      }
    }
  }
  tensors.push_back({ModelSource::HfName(arch.final_norm), config.dtype, norm});
  if (!config.tied_head) {
    tensors.push_back({ModelSource::HfName(arch.head) + ".weight", config.dtype, embedding});
  }
  return tensors;
}

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

void WriteLinear(const SourceLinear& linear, const GroupQuantized& quantized,
                 const SitePolicy& site, DataType dtype, ShardedWriter& writer) {
  std::vector<int32_t> packed(quantized.q.size() / 8);
  PackInt4(quantized.q, packed);
  writer.Write(linear.name + ".weight_packed", std::as_bytes(std::span(packed)));
  writer.Write(linear.name + ".weight_scale", StoreFloats(quantized.scales, dtype));
  const int64_t shape[] = {linear.channels, linear.k};
  writer.Write(linear.name + ".weight_shape", std::as_bytes(std::span(shape)));
  if (site.scheme != ActScheme::kDynamic) {
    writer.Write(linear.name + ".input_scale", StoreFloats({&site.scale, 1}, dtype));
  }
  if (!linear.bias.empty()) {
    writer.Write(linear.name + ".bias", StoreFloats(linear.bias, dtype));
  }
}

// Reads, equalizes, quantizes and writes a layer.
void QuantizeLayer(const Plan& plan, int64_t layer, ThreadPool& pool, ShardedWriter& writer,
                   QuantizeReport& report) {
  const ArchSpec& arch = plan.source.arch();
  const DataType dtype = plan.source.config().dtype;
  SourceLayer weights = plan.source.ReadLayer(layer);
  std::vector<float> mean_squares[kActSites];
  for (const ActSite site : kAllActSites) {
    const auto index = static_cast<size_t>(site);
    const ActivationStats& stats = plan.stats[static_cast<size_t>(layer)][index];
    mean_squares[index] = stats.MeanSquares();
    if (plan.At(layer, site).scheme != ActScheme::kLaeStatic) continue;
    std::vector<float> scales = LaeScales(stats.absmax);
    FoldIntoNorm(weights.norm(site), dtype, scales);
    ScaleInputs(weights.linears[index], scales, pool);
    for (size_t j = 0; j < scales.size(); ++j) mean_squares[index][j] /= scales[j] * scales[j];
  }

  writer.Write(ModelSource::HfName(arch.attn_norm, layer), StoreFloats(weights.attn_norm, dtype));
  writer.Write(ModelSource::HfName(arch.mlp_norm, layer), StoreFloats(weights.mlp_norm, dtype));
  for (const ActSite site : kAllActSites) {
    const auto index = static_cast<size_t>(site);
    const SitePolicy& policy = plan.At(layer, site);
    for (const SourceLinear& linear : weights.linears[index]) {
      const GroupQuantized quantized =
          QuantizeGroups(linear, mean_squares[index], policy.group_size, dtype, pool);
      WriteLinear(linear, quantized, policy, dtype, writer);
      report.linears.push_back({linear.name, policy.group_size, quantized.relative_error});
      report.linear_weights += std::ssize(quantized.q);
      report.linear_bytes +=
          std::ssize(quantized.q) / 2 + std::ssize(quantized.scales) * BlockSizeOf(dtype).bytes;
    }
  }
}

void WriteTensors(const Plan& plan, const fs::path& folder, ThreadPool& pool,
                  const Progress& progress, QuantizeReport& report) {
  const ModelSource& source = plan.source;
  const ModelConfig& config = source.config();
  const ArchSpec& arch = source.arch();
  ShardedWriter writer(folder, FolderTensors(plan));
  WriteFloatMatrix(source.embedding(), ModelSource::HfName(arch.embedding), config.dtype, writer);
  for (int64_t layer = 0; layer < config.layers; ++layer) {
    if (progress) progress("quantizing", layer, config.layers);
    QuantizeLayer(plan, layer, pool, writer, report);
  }
  writer.Write(ModelSource::HfName(arch.final_norm),
               StoreFloats(source.ReadVector(source.Name(arch.final_norm)), config.dtype));
  if (!config.tied_head) {
    WriteFloatMatrix(source.head(), ModelSource::HfName(arch.head) + ".weight", config.dtype,
                     writer);
  }
  writer.Close();
  report.output_bytes = writer.TensorBytes();
  if (progress) progress("quantizing", config.layers, config.layers);
}

// --- The other files ---

void WriteJson(const fs::path& path, const Json& json) {
  WriteFileAtomically(path, json.dump(2, ' ', /*ensure_ascii=*/false) + "\n");
}

Json ConfigJson(const Plan& plan) {
  const ModelSource& source = plan.source;
  std::vector<std::pair<std::string, LinearQuantization>> linears;
  for (int64_t layer = 0; layer < source.config().layers; ++layer) {
    for (const LinearSpec& spec : source.arch().linears) {
      linears.emplace_back(ModelSource::HfName(spec.module, layer),
                           QuantizationOf(plan.At(layer, spec.site)));
    }
  }
  const std::vector<std::string> ignore = {ModelSource::HfName(source.arch().head)};
  Json json = source.HfConfig();
  json["quantization_config"] = CompressedTensorsJson(linears, ignore);
  return json;
}

// Files of a Hugging Face folder that belong to the model whatever the weights are.
void CopyCompanions(const fs::path& source, const fs::path& folder) {
  for (const char* name : {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
                           "added_tokens.json", "vocab.json", "merges.txt", "tokenizer.model",
                           "chat_template.jinja", "generation_config.json"}) {
    std::error_code error;
    if (!fs::exists(source / name, error)) continue;
    const MappedFile file(source / name);
    OutputFile copy(folder / name);
    copy.Write(file.bytes());
    copy.Close();
  }
}

// The same files made from the metadata of a GGUF file.
void WriteCompanions(const Plan& plan, const fs::path& folder) {
  WriteJson(folder / "tokenizer.json", plan.tokenizer.tokenizer);
  Json tokenizer_config = plan.tokenizer.tokenizer_config;
  if (!plan.tokenizer.chat_template.empty()) {
    tokenizer_config["chat_template"] = plan.tokenizer.chat_template;
  }
  WriteJson(folder / "tokenizer_config.json", tokenizer_config);
  const ModelConfig& config = plan.source.config();
  Json generation = Json::object();
  if (config.bos_token >= 0) generation["bos_token_id"] = config.bos_token;
  if (!config.eos_tokens.empty()) generation["eos_token_id"] = config.eos_tokens;
  WriteJson(folder / "generation_config.json", generation);
}

}  // namespace

QuantizeReport QuantizeCheckpoint(const fs::path& source, const fs::path& output,
                                  const QuantRecipe& recipe, bool replace, ThreadPool& pool,
                                  const Progress& progress) {
  const auto start = std::chrono::steady_clock::now();
  std::error_code error;
  if (fs::equivalent(source, output, error)) {
    throw Error("{}: expected an output other than the source", output.string());
  }
  OutputFolder folder(output, replace);
  const Plan plan = MakePlan(source, recipe, pool, progress);

  QuantizeReport report;
  report.sites = plan.sites;
  report.source_bytes = plan.source.checkpoint().TensorBytes();
  WriteTensors(plan, folder.staging(), pool, progress, report);
  WriteJson(folder.staging() / "config.json", ConfigJson(plan));
  if (plan.source.checkpoint().format() == Checkpoint::Format::kHuggingFace) {
    CopyCompanions(source, folder.staging());
  } else {
    WriteCompanions(plan, folder.staging());
  }
  WriteJson(folder.staging() / "fptq.json", ReportToJson(report, recipe));
  folder.Commit();
  report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return report;
}

std::vector<SitePolicy> PlanCheckpoint(const fs::path& source, const QuantRecipe& recipe,
                                       ThreadPool& pool, const Progress& progress) {
  return MakePlan(source, recipe, pool, progress).sites;
}

}  // namespace fptq
