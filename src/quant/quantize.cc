#include "quant/quantize.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <string>
#include <utility>

#include "base/atomic_write.h"
#include "base/error.h"
#include "io/compressed_tensors.h"
#include "model/model.h"
#include "quant/calibration_set.h"
#include "quant/companions.h"
#include "quant/equalize.h"
#include "quant/hidden_states.h"
#include "quant/rounding.h"
#include "quant/sharded_writer.h"
#include "quant/storage.h"
#include "quant/tensor_spool.h"
#include "quant/weight_equalization.h"

namespace fptq {
namespace {

namespace fs = std::filesystem;
using StoredTensor = SafetensorsWriter::Tensor;

// Rows of a site's input that are kept to measure errors on.
constexpr int64_t kSampleRows = 512;

// A float source and the tokens to calibrate it with.
struct Input {
  ModelSource source;
  TokenizerFiles tokenizer;
  CalibrationSet calibration;
};

// `scratch`: a folder for temporary files, or empty: memory holds it all.
Input OpenInput(const fs::path& path, const QuantRecipe& recipe, const fs::path& scratch,
                ThreadPool& pool, const Progress& progress) {
  Validate(recipe, "recipe");
  Input input{.source = ModelSource::Open(path), .tokenizer = {}, .calibration = {}};
  if (input.source.quantized()) {
    throw Error("{}: expected a float model to quantize, found a quantized one", path.string());
  }
  for (const LinearSpec& linear : input.source.arch().linears) {
    GroupSizeFor(SiteInputs(input.source.config(), linear.site), recipe.group_size,
                 input.source.Name(linear.module, 0));
  }
  input.tokenizer = input.source.LoadTokenizer();
  input.calibration =
      MakeCalibrationSet(recipe, input.source, Tokenizer(input.tokenizer), scratch, pool, progress);
  return input;
}

// A layer that awaits rounding.
struct EqualizedLayer {
  SourceLayer weights;         // equalized
  LayerStatistics statistics;  // of the equalized activations
  LayerPolicy policy;
};

// The one pass over the model: runs the float layers over the calibration tokens, one at a time,
// decides on each and equalizes it. `on_layer` then rounds, or not. Where rounding is to know the
// inputs that the quantized layers before it produce, a second HiddenStates goes beside `hidden`
// and advances by the rounded weights. `scratch` as at OpenInput.
void ForEachLayer(const Input& input, const QuantRecipe& recipe, const fs::path& scratch,
                  ThreadPool& pool, const Progress& progress,
                  FunctionRef<void(EqualizedLayer&)> on_layer) {
  const ModelConfig& config = input.source.config();
  const RoundingMethod& rounding = RoundingOf(recipe);
  const ObserverOptions options = {.rows = input.calibration.TokenCount(),
                                   .sample_rows = kSampleRows,
                                   .gram = rounding.uses_gram};
  HiddenStates hidden(input.source, input.calibration, Arena(scratch), pool);
  for (int64_t layer = 0; layer < config.layers; ++layer) {
    if (progress) progress("quantizing", layer, config.layers);
    EqualizedLayer result;
    {
      const LayerWeights weights = ReadFloatLayer(input.source, layer, pool);
      LayerObserver observer(config, options, pool);
      hidden.Advance(weights, layer, &observer);
      result.statistics = observer.Finish(layer);
    }
    // Read again rather than kept beside the weights that ran: memory holds one layer.
    result.weights = input.source.ReadLayer(layer);
    input.source.checkpoint().ReleasePages();
    std::array<double, kActSites> exponents = {};
    if (rounding.equalizes) {
      exponents =
          EqualizeForWeights(config, recipe, layer, result.weights, result.statistics, pool);
    }
    result.policy = DecidePolicy({.config = config,
                                  .layer = layer,
                                  .source = result.weights,
                                  .statistics = result.statistics},
                                 recipe, pool);
    for (SitePolicy& site : result.policy) {
      site.weight_exponent = exponents[static_cast<size_t>(site.site)];
    }
    for (const SitePolicy& site : result.policy) {
      if (site.channel_scales.empty()) continue;
      EqualizeSite(*FindEqualization(*config.arch, site.site), config, layer, site.channel_scales,
                   result.weights, result.statistics[static_cast<size_t>(site.site)], pool);
    }
    on_layer(result);
  }
  if (progress) progress("quantizing", config.layers, config.layers);
}

// --- Tensors ---

void WriteLinear(const SourceLinear& linear, const GroupQuantized& quantized,
                 const SitePolicy& site, int bits, DataType dtype, TensorSpool& spool) {
  std::vector<int32_t> packed(quantized.q.size() * static_cast<size_t>(bits) / 32);
  PackIntegers(bits, quantized.q, packed);
  spool.Add(
      {linear.name + ".weight_packed", DataType::kI32, {linear.channels, linear.k * bits / 32}},
      std::as_bytes(std::span(packed)));
  spool.Add({linear.name + ".weight_scale", dtype, {linear.channels, linear.k / site.group_size}},
            StoreFloats(quantized.scales, dtype));
  const int64_t shape[] = {linear.channels, linear.k};
  spool.Add({linear.name + ".weight_shape", DataType::kI64, {2}}, std::as_bytes(std::span(shape)));
  if (site.choice.scheme == ActScheme::kStatic) {
    spool.Add({linear.name + ".input_scale", dtype, {1}}, StoreFloats({&site.scale, 1}, dtype));
  }
  if (!linear.bias.empty()) {
    spool.Add({linear.name + ".bias", dtype, {linear.channels}}, StoreFloats(linear.bias, dtype));
  }
}

// Rounds and writes; frees the weights and the statistics site by site.
void WriteLayer(const ModelConfig& config, const QuantRecipe& recipe, EqualizedLayer& layer,
                ThreadPool& pool, TensorSpool& spool, QuantizeReport& report) {
  const RoundingMethod& rounding = RoundingOf(recipe);
  const auto bits = static_cast<int>(recipe.weight_bits);
  const DataType dtype = config.dtype;
  const auto write_norm = [&](const TensorNames& name, std::span<const float> norm) {
    spool.Add({ModelSource::HfName(name, layer.policy[0].layer), dtype, {std::ssize(norm)}},
              StoreFloats(norm, dtype));
  };
  write_norm(config.arch->attn_norm, layer.weights.attn_norm);
  write_norm(config.arch->mlp_norm, layer.weights.mlp_norm);
  for (const SitePolicy& site : layer.policy) {
    const auto index = static_cast<size_t>(site.site);
    const std::vector<SourceLinear> linears = std::move(layer.weights.linears[index]);
    SiteStatistics statistics = std::move(layer.statistics[index]);
    const std::vector<GroupQuantized> rounded = rounding.round(
        linears, statistics, {.bits = bits, .group_size = site.group_size, .dtype = dtype}, pool);
    for (size_t i = 0; i < linears.size(); ++i) {
      WriteLinear(linears[i], rounded[i], site, bits, dtype, spool);
      report.linears.push_back({linears[i].name, site.group_size, rounded[i].relative_error});
      report.linear_weights += std::ssize(rounded[i].q);
      report.linear_bytes += std::ssize(rounded[i].q) * bits / 8 +
                             std::ssize(rounded[i].scales) * BlockSizeOf(dtype).bytes;
    }
  }
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

// All tensors of the folder: those of the layers, and what stays float. Returns their bytes.
int64_t WriteTensors(const ModelSource& source, TensorSpool& layers, const fs::path& folder) {
  const ModelConfig& config = source.config();
  const ArchSpec& arch = source.arch();
  const std::vector<int64_t> embedding_shape = {config.vocab, config.hidden};
  const StoredTensor embedding = {ModelSource::HfName(arch.embedding), config.dtype,
                                  embedding_shape};
  const StoredTensor norm = {ModelSource::HfName(arch.final_norm), config.dtype, {config.hidden}};
  const StoredTensor head = {ModelSource::HfName(arch.head) + ".weight", config.dtype,
                             embedding_shape};
  std::vector<StoredTensor> tensors = {embedding};
  tensors.insert(tensors.end(), layers.tensors().begin(), layers.tensors().end());
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

QuantizeReport QuantizeCheckpoint(const fs::path& source, const fs::path& output,
                                  const QuantRecipe& recipe, bool replace, ThreadPool& pool,
                                  const Progress& progress) {
  const auto start = std::chrono::steady_clock::now();
  std::error_code error;
  if (fs::equivalent(source, output, error)) {
    throw Error("{}: expected an output other than the source", output.string());
  }
  OutputFolder folder(output, replace);
  const Input input = OpenInput(source, recipe, folder.staging(), pool, progress);

  QuantizeReport report;
  report.source_bytes = input.source.checkpoint().TensorBytes();
  {
    TensorSpool layers(folder.staging() / "layers.tmp");
    ForEachLayer(input, recipe, folder.staging(), pool, progress, [&](EqualizedLayer& layer) {
      std::ranges::copy(layer.policy, std::back_inserter(report.sites));
      WriteLayer(input.source.config(), recipe, layer, pool, layers, report);
    });
    report.output_bytes = WriteTensors(input.source, layers, folder.staging());
  }
  WriteJson(folder.staging() / "config.json", ConfigJson(input.source, recipe, report.sites));
  WriteCompanions(input.source, input.tokenizer, folder.staging());
  QuantRecipe used = recipe;
  used.calibration_tokens = ChosenTokens(recipe, input.source.config());
  WriteJson(folder.staging() / "fptq.json", ReportToJson(report, used));
  folder.Commit();
  report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return report;
}

std::vector<SitePolicy> PlanCheckpoint(const fs::path& source, const QuantRecipe& recipe,
                                       ThreadPool& pool, const Progress& progress) {
  std::vector<SitePolicy> sites;
  ForEachLayer(
      OpenInput(source, recipe, {}, pool, progress), recipe, {}, pool, progress,
      [&](EqualizedLayer& layer) { std::ranges::copy(layer.policy, std::back_inserter(sites)); });
  return sites;
}

}  // namespace fptq
