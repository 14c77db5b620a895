#include "quant/quantize.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <string>
#include <utility>

#include "base/error.h"
#include "base/output_folder.h"
#include "io/compressed_tensors.h"
#include "model/model.h"
#include "quant/calibration_set.h"
#include "quant/equalize.h"
#include "quant/hidden_states.h"
#include "quant/quantized_folder.h"
#include "quant/rounding.h"
#include "quant/run_state.h"
#include "quant/source_check.h"
#include "quant/storage.h"
#include "quant/tensor_spool.h"
#include "quant/weight_equalization.h"

namespace fptq {
namespace {

namespace fs = std::filesystem;

// Of a layer: it ran, it is decided on, and each site is rounded.
constexpr int64_t kSteps = 2 + kActSites;

// Says that `step` steps of a layer are done; may throw, if the user wants no more.
void ReportStep(const Progress& progress, const ModelConfig& config, int64_t layer, int64_t step) {
  if (progress) progress("quantizing", layer * kSteps + step, config.layers * kSteps);
}

// A layer that awaits rounding.
struct EqualizedLayer {
  SourceLayer weights;         // equalized
  LayerStatistics statistics;  // of the equalized activations
  LayerPolicy policy;
};

// The one pass over the model: runs the float layers over the calibration tokens, one at a time,
// from `first_layer` on, into which `hidden` goes; decides on each and equalizes it. `on_layer`
// then rounds, or not. Where rounding is to know the inputs that the quantized layers before it
// produce, a second HiddenStates goes beside `hidden` and advances by the rounded weights.
void ForEachLayer(const ModelSource& source, const CalibrationSet& calibration,
                  const QuantRecipe& recipe, int64_t first_layer, HiddenStates& hidden,
                  ThreadPool& pool, const Progress& progress,
                  FunctionRef<void(EqualizedLayer&)> on_layer) {
  const ModelConfig& config = source.config();
  const RoundingMethod& rounding = RoundingOf(recipe);
  const ObserverOptions options = {
      .rows = calibration.TokenCount(), .sample_rows = kSampleRows, .gram = rounding.uses_gram};
  for (int64_t layer = first_layer; layer < config.layers; ++layer) {
    ReportStep(progress, config, layer, 0);
    EqualizedLayer result;
    {
      const LayerWeights weights = ReadFloatLayer(source, layer, pool);
      LayerObserver observer(config, options, pool);
      hidden.Advance(weights, layer, &observer);
      result.statistics = observer.Finish(layer);
    }
    ReportStep(progress, config, layer, 1);
    // Read again rather than kept beside the weights that ran: memory holds one layer.
    result.weights = source.ReadLayer(layer);
    source.checkpoint().ReleasePages();
    std::array<double, kActSites> exponents = {};
    if (rounding.equalizes && options.rows >= kMinFittedTokens) {
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
    ReportStep(progress, config, layer, 2);
    on_layer(result);
  }
  ReportStep(progress, config, config.layers, 0);
}

// --- Tensors ---

// Nothing if `values` is empty.
void WriteFloats(const std::string& name, std::vector<int64_t> shape, std::span<const float> values,
                 DataType dtype, TensorSpool& spool) {
  if (values.empty()) return;
  spool.Add({name, dtype, std::move(shape)}, StoreFloats(values, dtype, name));
}

void WriteLinear(const SourceLinear& linear, const GroupQuantized& quantized,
                 const SitePolicy& site, DataType dtype, TensorSpool& spool) {
  const int bits = quantized.bits;
  std::vector<int32_t> packed(quantized.q.size() * static_cast<size_t>(bits) / 32);
  PackIntegers(bits, quantized.q, packed);
  spool.Add(
      {linear.name + ".weight_packed", DataType::kI32, {linear.channels, linear.k * bits / 32}},
      std::as_bytes(std::span(packed)));
  WriteFloats(linear.name + ".weight_scale", {linear.channels, linear.k / site.group_size},
              quantized.scales, dtype, spool);
  const int64_t shape[] = {linear.channels, linear.k};
  spool.Add({linear.name + ".weight_shape", DataType::kI64, {2}}, std::as_bytes(std::span(shape)));
  if (site.choice.scheme == ActScheme::kStatic) {
    WriteFloats(linear.name + ".input_scale", {1}, {&site.scale, 1}, dtype, spool);
  }
}

// By `custom` what it takes on, by `method` the rest.
RoundedSite RoundSite(const RoundingMethod& method, const CustomRounding& custom,
                      std::span<const SourceLinear> linears, const SitePolicy& site,
                      SiteStatistics& inputs, const RoundingOptions& options, ThreadPool& pool) {
  if (!custom) return method.round(linears, inputs, options, pool);
  auto rounded = RoundByCustom(custom, linears, site, inputs, options);
  RoundedSite result;
  if (!std::ranges::all_of(rounded, [](const auto& linear) { return linear.has_value(); })) {
    result = method.round(linears, inputs, options, pool);
  }
  result.linears.resize(linears.size());
  for (size_t i = 0; i < linears.size(); ++i) {
    if (rounded[i]) result.linears[i] = std::move(*rounded[i]);
  }
  return result;
}

// Rounds and writes; frees the weights and the statistics site by site.
LayerResult WriteLayer(const ModelConfig& config, const QuantRecipe& recipe,
                       const CustomRounding& custom, EqualizedLayer& layer, ThreadPool& pool,
                       const Progress& progress, TensorSpool& spool) {
  LayerResult result;
  const RoundingMethod& rounding = RoundingOf(recipe);
  const DataType dtype = config.dtype;
  const auto write_vector = [&](const std::string& name, std::span<const float> values) {
    WriteFloats(name, {std::ssize(values)}, values, dtype, spool);
  };
  const auto write_norm = [&](const TensorNames& module, Norm& norm) {
    const std::string name = ModelSource::HfName(module, layer.policy[0].layer);
    for (float& weight : norm.weight) weight -= config.arch->norm_offset;
    write_vector(name + ".weight", norm.weight);
    write_vector(name + ".bias", norm.bias);
  };
  for (const NormSpec& norm : config.arch->norms) {
    write_norm(norm.module, layer.weights.norms.at(norm.role));
  }
  for (SitePolicy& site : layer.policy) {
    const auto index = static_cast<size_t>(site.site);
    const std::vector<SourceLinear> linears = std::move(layer.weights.linears[index]);
    SiteStatistics statistics = std::move(layer.statistics[index]);
    if (site.quantizes_weights()) {
      std::vector<int> bits;
      for (const SourceLinear& linear : linears) {
        bits.push_back(WeightBits(recipe, config, linear.weight.size()));
      }
      RoundedSite rounded =
          RoundSite(rounding, custom, linears, site, statistics,
                    {.bits = bits, .group_size = site.group_size, .dtype = dtype}, pool);
      if (!rounded.note.empty()) site.notes.push_back(std::move(rounded.note));
      for (size_t i = 0; i < linears.size(); ++i) {
        const GroupQuantized& linear = rounded.linears[i];
        WriteLinear(linears[i], linear, site, dtype, spool);
        result.linears.push_back(
            {linears[i].name, linear.bits, site.group_size, linear.relative_error});
        result.linear_weights += std::ssize(linear.q);
        result.linear_bytes += std::ssize(linear.q) * linear.bits / 8 +
                               std::ssize(linear.scales) * BlockSizeOf(dtype).bytes;
      }
    } else {
      for (const SourceLinear& linear : linears) {
        WriteFloats(linear.name + ".weight", {linear.channels, linear.k}, linear.weight.span(),
                    dtype, spool);
      }
    }
    for (const SourceLinear& linear : linears) write_vector(linear.name + ".bias", linear.bias);
    ReportStep(progress, config, site.layer, 3 + static_cast<int64_t>(index));
  }
  result.policy = std::move(layer.policy);
  return result;
}

void AddLayer(const LayerResult& layer, QuantizeReport& report) {
  std::ranges::copy(layer.policy, std::back_inserter(report.sites));
  std::ranges::copy(layer.linears, std::back_inserter(report.linears));
  report.linear_weights += layer.linear_weights;
  report.linear_bytes += layer.linear_bytes;
}

// Brings `hidden` to what comes out of the layers that are finished.
void GoOn(const ModelSource& source, const RunState& state, HiddenStates& hidden, ThreadPool& pool,
          const Progress& progress) {
  const auto finished = std::ssize(state.layers());
  if (finished == 0 || finished == source.config().layers || state.LoadHidden(hidden)) return;
  for (int64_t layer = 0; layer < finished; ++layer) {
    if (progress) progress("running the finished layers", layer, finished);
    hidden.Advance(ReadFloatLayer(source, layer, pool), layer, /*observer=*/nullptr);
  }
}

}  // namespace

ModelSource OpenFloatSource(const ModelLocation& location, const QuantRecipe& recipe) {
  Validate(recipe, "recipe");
  ModelSource source = ModelSource::Open(location);
  if (source.quantized()) {
    throw Error("{}: expected a float model to quantize, found a quantized one",
                location.path.string());
  }
  const auto quantizable = [&](ActSite site) {
    return GroupSizeFor(SiteInputs(source.config(), site), recipe.group_size) > 0;
  };
  if (std::ranges::none_of(kAllActSites, quantizable)) {
    throw Error("{}: expected a linear with a multiple of 32 inputs to quantize, found none",
                location.path.string());
  }
  return source;
}

const OutputKind kQuantizedFolder = {.marks = {"fptq.json", "config.json"},
                                     .in_output = IsQuantizedFolderFile,
                                     .in_work = RunState::IsFile};

InputFiles QuantizeInputs(const fs::path& source, const QuantRecipe& recipe) {
  std::vector<fs::path> files = CalibrationFiles(recipe.calibration);
  files.push_back(source);
  return std::span<const fs::path>(files);
}

QuantizeReport QuantizeCheckpoint(const ModelLocation& location, const fs::path& output,
                                  const QuantRecipe& recipe, const QuantizeOptions& options,
                                  ThreadPool& pool, const Progress& progress) {
  OutputFolder folder(output, options.replace, kQuantizedFolder,
                      QuantizeInputs(location.path, recipe));
  if (!options.rounding && RunState::Exists(folder.work())) folder.Keep();
  const QuantizeReport report = QuantizeInto(folder, location, recipe, options, pool, progress);
  folder.Commit();
  return report;
}

QuantizeReport QuantizeInto(OutputFolder& folder, const ModelLocation& location,
                            const QuantRecipe& recipe, const QuantizeOptions& options,
                            ThreadPool& pool, const Progress& progress) {
  const auto start = std::chrono::steady_clock::now();
  const ModelSource source = OpenFloatSource(location, recipe);
  const ModelText text = LoadText(source);
  RunState state(folder.work(), source.config(),
                 FingerprintOf(source, recipe, options.given, pool, progress),
                 options.restart || options.rounding);
  if (!state.calibration()) {
    state.SetCalibration(MakeCalibrationSet(recipe, source, text.tokenizer, folder.work(), pool,
                                            progress, options.given));
  }
  if (options.keep && !options.rounding) folder.Keep();

  QuantizeReport report;
  report.warnings = text.warnings;
  if (!folder.locked()) {
    report.warnings.push_back(fmt::format(
        "{}: its file system has no locks, so nothing kept another process off the same output",
        folder.work().string()));
  }
  report.calibration_tokens = state.calibration()->TokenCount();
  WarnOfShortage(*state.calibration(), recipe, source.config(), report.warnings);
  report.source_bytes = source.checkpoint().TensorBytes();
  report.resumed_layers = std::ssize(state.layers());
  {
    HiddenStates hidden(source, *state.calibration(), Arena(folder.work()), pool);
    GoOn(source, state, hidden, pool, progress);
    ForEachLayer(source, *state.calibration(), recipe, report.resumed_layers, hidden, pool,
                 progress, [&](EqualizedLayer& layer) {
                   LayerResult result = WriteLayer(source.config(), recipe, options.rounding, layer,
                                                   pool, progress, state.spool());
                   state.FinishLayer(std::move(result), hidden);
                 });
  }
  for (const LayerResult& layer : state.layers()) AddLayer(layer, report);
  std::ranges::move(CollectNotes(report.sites), std::back_inserter(report.warnings));
  QuantRecipe used = recipe;
  used.calibration_tokens = ChosenTokens(recipe, source.config());
  WriteQuantizedFolder(source, text, used, state.spool(), folder.staging(), report);
  report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return report;
}

QuantizationPlan PlanCheckpoint(const ModelLocation& location, const QuantRecipe& recipe,
                                ThreadPool& pool, const Progress& progress, GivenSequences given) {
  const ModelSource source = OpenFloatSource(location, recipe);
  const ModelText text = LoadText(source);
  CheckWeights(source, pool, progress);
  const CalibrationSet calibration =
      MakeCalibrationSet(recipe, source, text.tokenizer, /*scratch=*/{}, pool, progress, given);
  HiddenStates hidden(source, calibration, /*memory=*/{}, pool);
  QuantizationPlan plan = {.sites = {}, .warnings = text.warnings};
  WarnOfShortage(calibration, recipe, source.config(), plan.warnings);
  ForEachLayer(source, calibration, recipe, /*first_layer=*/0, hidden, pool, progress,
               [&](EqualizedLayer& layer) {
                 std::ranges::copy(layer.policy, std::back_inserter(plan.sites));
               });
  std::ranges::move(CollectNotes(plan.sites), std::back_inserter(plan.warnings));
  return plan;
}

}  // namespace fptq
