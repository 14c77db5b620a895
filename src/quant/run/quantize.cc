#include "quant/run/quantize.h"

#include <algorithm>
#include <chrono>
#include <iterator>
#include <string>
#include <utility>

#include "base/error.h"
#include "files/output_folder.h"
#include "io/compressed_tensors.h"
#include "io/tensor_spool.h"
#include "model/model.h"
#include "model/weights/float_layer.h"
#include "quant/calibrate/calibration_set.h"
#include "quant/calibrate/hidden_states.h"
#include "quant/calibrate/layer_pass.h"
#include "quant/decide/equalize.h"
#include "quant/decide/weight_equalization.h"
#include "quant/decide/weight_formats.h"
#include "quant/round/rounding.h"
#include "quant/round/storage.h"
#include "quant/run/quantized_folder.h"
#include "quant/run/run_state.h"
#include "quant/run/source_check.h"

namespace fptq {
namespace {

namespace fs = std::filesystem;

// How far a quantization is, in steps: a part of a layer ran, it is decided on, and each of its
// sites is rounded.
class Steps {
 public:
  // The layers before `first_layer` are done.
  Steps(const ModelConfig& config, int64_t first_layer, const Progress& progress)
      : progress_(progress) {
    for (int64_t layer = 0; layer < config.layers; ++layer) {
      const auto sites = std::ssize(SitesOf(config, layer));
      // An MLP of a mixture is a part with two sites.
      total_ += kBefore + (config.is_mixture(layer) ? 3 + (sites - 3) * (kBefore + 2) : sites);
      if (layer + 1 == first_layer) done_ = total_;
    }
  }

  void Report() const {  // may throw, if the user wants no more
    if (progress_) progress_("quantizing", done_, total_);
  }
  void Finish() {
    ++done_;
    Report();
  }
  // A part begins, and if its sites were rounded or not, it is done when the next one does.
  void BeginPart(size_t sites) {
    done_ = std::max(done_, part_end_);
    part_end_ = done_ + kBefore + static_cast<int64_t>(sites);
    Report();
  }
  void End() {
    done_ = total_;
    Report();
  }

 private:
  static constexpr int64_t kBefore = 2;  // steps before a part's sites

  const Progress& progress_;
  int64_t done_ = 0, total_ = 0, part_end_ = 0;
};

// A part of a layer that awaits rounding. All by weights.sites.
struct EqualizedPart {
  int64_t layer = 0;
  SourceLayer weights;         // equalized
  LayerStatistics statistics;  // of the equalized activations
  LayerPolicy policy;
  size_t shared_sites = 0;  // the first ones are of a part before this one, and decided
};

// Equalizes the part and decides on its sites.
void DecidePart(const ModelConfig& config, const QuantRecipe& recipe, const WeightFormats& formats,
                EqualizedPart& part, ThreadPool& pool) {
  const int64_t layer = part.layer;
  std::vector<double> exponents(part.weights.sites.size());
  if (RoundingOf(recipe).equalizes && part.statistics.back().rows >= kMinFittedTokens) {
    exponents = EqualizeForWeights(config, formats, layer, part.weights, part.statistics, pool);
  }
  const ObservedLayer observed = {.config = config,
                                  .formats = formats,
                                  .layer = layer,
                                  .source = part.weights,
                                  .statistics = part.statistics};
  for (size_t i = part.shared_sites; i < exponents.size(); ++i) {
    part.policy.push_back(DecideSite(observed, i, recipe, pool));
    part.policy.back().weight_exponent = exponents[i];
  }
  for (size_t i = part.shared_sites; i < exponents.size(); ++i) {
    const SitePolicy& site = part.policy[i];
    if (site.channel_scales.empty()) continue;
    EqualizeSite(*FindEqualization(config, layer, site.site), config, layer, i, site.channel_scales,
                 part.weights, part.statistics[i], pool);
  }
}

// Runs the layer of the float model over the calibration tokens, part by part; decides on each and
// equalizes it. `on_part` then rounds it, or not.
void ForEachPart(const ModelSource& source, const QuantRecipe& recipe, const WeightFormats& formats,
                 int64_t layer, HiddenStates& hidden, ThreadPool& pool, Steps& steps,
                 FunctionRef<void(EqualizedPart&)> on_part) {
  const ModelConfig& config = source.config();
  const ObserverOptions options = {.sample_rows = kSampleRows,
                                   .gram = RoundingOf(recipe).uses_gram};
  // Of a mixture: the site that its MLPs share.
  SiteStatistics mlp_inputs;
  SitePolicy mlp_policy;
  const bool is_mixture = config.is_mixture(layer);
  steps.BeginPart(is_mixture ? 3 : SitesOf(config, layer).size());
  RunLayer(source, layer, options, hidden, pool,
           [&](const LayerPart& part, LayerStatistics& statistics) {
             if (part.mlp) steps.BeginPart(2);
             steps.Finish();
             EqualizedPart result;
             result.layer = layer;
             // Read again rather than kept beside the weights that ran: memory holds one part.
             result.weights = ReadPart(source, part);
             source.checkpoint().ReleasePages();
             if (part.mlp) {
               result.statistics.push_back(mlp_inputs.Copy());
               result.policy.push_back(mlp_policy);
               result.shared_sites = 1;
             }
             std::ranges::move(statistics, std::back_inserter(result.statistics));
             DecidePart(config, recipe, formats, result, pool);
             if (is_mixture && !part.mlp) {
               mlp_inputs = std::move(result.statistics.back());
               mlp_policy = result.policy.back();
             }
             steps.Finish();
             on_part(result);
           });
}

// The one pass over the model, from `first_layer` on, into which `hidden` goes. `on_layer` is
// called when a layer's parts are done. Where rounding is to know the inputs that the quantized
// layers before it produce, a second HiddenStates goes beside `hidden` and advances by the rounded
// weights.
void ForEachLayer(const ModelSource& source, const QuantRecipe& recipe,
                  const WeightFormats& formats, int64_t first_layer, HiddenStates& hidden,
                  ThreadPool& pool, Steps& steps, FunctionRef<void(EqualizedPart&)> on_part,
                  FunctionRef<void()> on_layer) {
  for (int64_t layer = first_layer; layer < source.config().layers; ++layer) {
    ForEachPart(source, recipe, formats, layer, hidden, pool, steps, on_part);
    on_layer();
  }
  steps.End();
}

// --- Tensors ---

// Nothing if `values` is empty.
void WriteFloats(const std::string& name, std::vector<int64_t> shape, std::span<const float> values,
                 DataType dtype, TensorSpool& spool) {
  if (values.empty()) return;
  spool.Add({name, dtype, std::move(shape)}, StoreFloats(values, dtype, name));
}

// [N / 8, K / group_size], those of 8 output channels in a word. Nothing if the weights have none.
void WriteZeroPoints(const SourceLinear& linear, const GroupQuantized& quantized,
                     TensorSpool& spool) {
  if (quantized.zero_points.empty()) return;
  constexpr int64_t kBits = 4, kTogether = 32 / kBits;
  const int64_t groups = linear.k / quantized.group_size;
  const int64_t rows = (linear.channels + kTogether - 1) / kTogether;
  std::vector<int8_t> column(static_cast<size_t>(rows * kTogether));
  std::vector<int32_t> words(static_cast<size_t>(rows)), packed(static_cast<size_t>(rows * groups));
  for (int64_t g = 0; g < groups; ++g) {
    for (int64_t n = 0; n < linear.channels; ++n) {
      column[static_cast<size_t>(n)] = quantized.zero_points[static_cast<size_t>(n * groups + g)];
    }
    PackIntegers(kBits, column, words);
    for (int64_t row = 0; row < rows; ++row) {
      packed[static_cast<size_t>(row * groups + g)] = words[static_cast<size_t>(row)];
    }
  }
  spool.Add({linear.name + ".weight_zero_point", DataType::kI32, {rows, groups}},
            std::as_bytes(std::span(packed)));
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
  WriteZeroPoints(linear, quantized, spool);
  const int64_t shape[] = {linear.channels, linear.k};
  spool.Add({linear.name + ".weight_shape", DataType::kI64, {2}}, std::as_bytes(std::span(shape)));
  if (site.choice.scheme == ActScheme::kStatic) {
    WriteFloats(linear.name + ".input_scale", {1}, {&site.scale, 1}, dtype, spool);
  }
}

// The linear as one whose weight is [K, N], without its bias.
SourceLinear Transposed(const SourceLinear& linear) {
  SourceLinear result = {
      .name = linear.name, .channels = linear.k, .k = linear.channels, .weight = {}, .bias = {}};
  result.weight.Resize(linear.weight.size());
  for (int64_t n = 0; n < linear.channels; ++n) {
    for (int64_t j = 0; j < linear.k; ++j) {
      result.weight[j * linear.channels + n] = linear.weight[n * linear.k + j];
    }
  }
  return result;
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

// Rounds and writes the linears of a site.
void WriteSite(const ModelConfig& config, const QuantRecipe& recipe, const WeightFormats& formats,
               const CustomRounding& custom, std::span<const SourceLinear> linears,
               SitePolicy& site, SiteStatistics& statistics, ThreadPool& pool, TensorSpool& spool,
               LayerResult& result) {
  const DataType dtype = config.dtype;
  std::vector<int> bits;
  for (const SourceLinear& linear : linears) {
    bits.push_back(formats.at(site.layer, *linear.spec).bits);
  }
  const bool is_known =
      site.site.mlp.kind != MlpKind::kExpert || statistics.rows >= kMinExpertTokens;
  if (!is_known) statistics.Forget();
  const RoundingMethod& method = is_known ? RoundingOf(recipe) : RoundingWithoutInputs(recipe);
  RoundedSite rounded =
      RoundSite(method, custom, linears, site, statistics,
                {.bits = bits,
                 .groups = {.size = site.group_size, .dtype = dtype, .symmetric = site.symmetric}},
                pool);
  if (!rounded.note.empty() && std::ranges::find(site.notes, rounded.note) == site.notes.end()) {
    site.notes.push_back(std::move(rounded.note));
  }
  for (size_t i = 0; i < linears.size(); ++i) {
    const GroupQuantized& linear = rounded.linears[i];
    WriteLinear(linears[i], linear, site, dtype, spool);
    result.linears.push_back(
        {linears[i].name, linear.bits, site.group_size, linear.relative_error});
    result.linear_weights += std::ssize(linear.q);
    const WeightFormat format = {.bits = linear.bits,
                                 .group_size = site.group_size,
                                 .symmetric = linear.zero_points.empty()};
    const auto scale_bits = static_cast<int>(8 * BlockSizeOf(dtype).bytes);
    result.linear_bytes += format.StoredBits(linears[i].channels, linears[i].k, scale_bits) / 8;
  }
}

// Rounds and writes, and adds what comes of it to the layer's result; frees the weights and the
// statistics site by site.
void WritePart(const ModelConfig& config, const QuantRecipe& recipe, const WeightFormats& formats,
               const CustomRounding& custom, EqualizedPart& part, ThreadPool& pool, Steps& steps,
               TensorSpool& spool, LayerResult& result) {
  const DataType dtype = config.dtype;
  const auto write_vector = [&](const std::string& name, std::span<const float> values) {
    WriteFloats(name, {std::ssize(values)}, values, dtype, spool);
  };
  const auto write_matrix = [&](const SourceLinear& linear) {
    WriteFloats(linear.name + ".weight", {linear.channels, linear.k}, linear.weight.span(), dtype,
                spool);
  };
  for (const NormSpec& spec : config.arch->norms) {
    const std::string name = ModelSource::HfName(spec.module, part.layer);
    Norm& norm = part.weights.norms.at(spec.role);
    for (float& weight : norm.weight) weight -= config.arch->norm_offset;
    write_vector(name + ".weight", norm.weight);
    write_vector(name + ".bias", norm.bias);
  }
  for (const SourceLinear& linear : part.weights.float_linears) write_matrix(linear);
  for (size_t i = 0; i < part.policy.size(); ++i) {
    const bool is_shared = i < part.shared_sites;
    if (!is_shared) result.policy.push_back(std::move(part.policy[i]));
    SitePolicy& site = result.policy[SiteIndex(config, part.weights.sites[i])];
    const std::vector<SourceLinear> linears = std::move(part.weights.linears[i]);
    SiteStatistics statistics = std::move(part.statistics[i]);
    if (!site.quantizes_weights()) {
      for (const SourceLinear& linear : linears) {
        if (config.arch->transposed_weights) {
          write_matrix(Transposed(linear));
        } else {
          write_matrix(linear);
        }
      }
    } else if (!linears.empty()) {
      WriteSite(config, recipe, formats, custom, linears, site, statistics, pool, spool, result);
    }
    for (const SourceLinear& linear : linears) write_vector(linear.name + ".bias", linear.bias);
    steps.Finish();
  }
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
    RunLayer(source, layer, hidden, pool);
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
  const auto quantizable = [&](const SiteId& site) {
    return GroupSizeFor(SiteInputs(source.config(), site), recipe.group_size) > 0;
  };
  if (std::ranges::none_of(SitesOf(source.config(), /*layer=*/0), quantizable)) {
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
  const WeightFormats formats(recipe, source.config());
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
    Steps steps(source.config(), report.resumed_layers, progress);
    LayerResult result;  // of the layer in work
    ForEachLayer(
        source, recipe, formats, report.resumed_layers, hidden, pool, steps,
        [&](EqualizedPart& part) {
          WritePart(source.config(), recipe, formats, options.rounding, part, pool, steps,
                    state.spool(), result);
        },
        [&] { state.FinishLayer(std::exchange(result, {}), hidden); });
  }
  for (const LayerResult& layer : state.layers()) AddLayer(layer, report);
  std::ranges::move(CollectNotes(report.sites), std::back_inserter(report.warnings));
  QuantRecipe used = recipe;
  used.calibration_tokens = ChosenTokens(recipe, source.config());
  WriteQuantizedFolder(source, text, used, state.spool(), folder.staging(), pool, report);
  report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return report;
}

QuantizationPlan PlanCheckpoint(const ModelLocation& location, const QuantRecipe& recipe,
                                ThreadPool& pool, const Progress& progress, GivenSequences given) {
  const ModelSource source = OpenFloatSource(location, recipe);
  const WeightFormats formats(recipe, source.config());
  const ModelText text = LoadText(source);
  CheckWeights(source, pool, progress);
  const CalibrationSet calibration =
      MakeCalibrationSet(recipe, source, text.tokenizer, /*scratch=*/{}, pool, progress, given);
  HiddenStates hidden(source, calibration, /*memory=*/{}, pool);
  QuantizationPlan plan;
  plan.bits_per_weight = formats.BitsPerWeight();
  plan.warnings = text.warnings;
  WarnOfShortage(calibration, recipe, source.config(), plan.warnings);
  Steps steps(source.config(), /*first_layer=*/0, progress);
  ForEachLayer(
      source, recipe, formats, /*first_layer=*/0, hidden, pool, steps,
      [&](EqualizedPart& part) {
        std::ranges::copy(std::span(part.policy).subspan(part.shared_sites),
                          std::back_inserter(plan.sites));
      },
      [] {});
  for (const SitePolicy& site : plan.sites) {
    plan.weight_bits.push_back(formats.bits(site.layer, site.site));
  }
  std::ranges::move(CollectNotes(plan.sites), std::back_inserter(plan.warnings));
  return plan;
}

}  // namespace fptq
