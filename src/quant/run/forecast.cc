#include "quant/run/forecast.h"

#include <sys/statvfs.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "files/output_folder.h"
#include "files/paths.h"
#include "kernels/kernels.h"
#include "machine/limits.h"
#include "quant/calibrate/calibration_set.h"
#include "quant/calibrate/observer.h"
#include "quant/calibrate/self_text.h"
#include "quant/decide/policy.h"
#include "quant/decide/weight_equalization.h"
#include "quant/decide/weight_formats.h"
#include "quant/round/gptq.h"
#include "quant/round/group_quant.h"
#include "quant/round/rounding.h"
#include "quant/run/outer_tensors.h"

namespace fptq {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kFloat = sizeof(float);

struct Site {
  int64_t k = 0, channels = 0;
  int64_t group_size = 0;  // 0: the weights stay float; else the least of the layers that are alike
  int64_t linears = 0;
  int64_t tokens = 0;       // that enter the linears
  bool is_observed = true;  // in this part of the layer
  int64_t weights() const { return k * channels; }
  int64_t groups() const { return group_size == 0 ? 0 : weights() / group_size; }
};

// Layers that are all alike but for their WeightFormats: the dense ones, or the mixtures.
struct Layers {
  // What is in memory at a time (LayerPart), and how many of its kind a layer has.
  struct Part {
    int64_t count = 1;
    std::vector<Site> sites;

    int64_t Weights() const;
  };
  int64_t count = 0;
  std::vector<Part> parts;

  // Sum over the sites of a layer.
  template <typename F>
  int64_t Sum(F f) const {
    int64_t sum = 0;
    for (const Part& part : parts) {
      for (const Site& site : part.sites) sum += part.count * f(site);
    }
    return sum;
  }
  int64_t Weights() const {
    return Sum([](const Site& s) { return s.weights(); });
  }
};

int64_t Layers::Part::Weights() const {
  int64_t weights = 0;
  for (const Site& site : sites) weights += site.weights();
  return weights;
}

// What is counted: layers, and the tokens that go through them.
struct Counts {
  const ModelConfig& config;
  std::vector<Layers> layers;
  bool gram = false;
  int threads = 1;
  int64_t tokens = 0, sequence = 0;  // of all sequences, and of the longest
  int64_t self_tokens = 0;           // of those that the model writes itself
  int64_t max_k = 0;

  // Sum over all layers.
  template <typename F>
  int64_t Sum(F f) const {
    int64_t sum = 0;
    for (const Layers& alike : layers) sum += alike.count * f(alike);
    return sum;
  }
  int64_t Weights() const {
    return Sum([](const Layers& alike) { return alike.Weights(); });
  }
  // The largest of all parts.
  template <typename F>
  int64_t Most(F f) const {
    int64_t most = 0;
    for (const Layers& alike : layers) {
      for (const Layers::Part& part : alike.parts) most = std::max(most, f(part));
    }
    return most;
  }
  int64_t Sequences() const { return (tokens + sequence - 1) / sequence; }
  int64_t HiddenBytes() const { return tokens * config.hidden * kFloat; }
  // Of a mixture at work: what its MLPs take and give.
  int64_t MixtureBytes() const { return config.mixture.experts > 0 ? 2 * HiddenBytes() : 0; }
  // If it writes any.
  SelfTextOptions TextOptions() const {
    return {.tokens = self_tokens, .length = sequence, .seed = 0, .chat = false};
  }
  int64_t SelfSequences() const { return (self_tokens + sequence - 1) / sequence; }
};

Site CountSite(const ModelConfig& config, const WeightFormats& formats, int64_t layer, ActSite role,
               MlpId mlp, int64_t tokens) {
  Site site{.k = SiteInputs(config, SiteId(role, mlp)), .tokens = tokens};
  const SiteId id = role == ActSite::kMlpMid ? SiteId(role, mlp) : SiteId(role);
  site.group_size = formats.groups(layer, id).size;
  for (const LayerLinear& linear : LinearsOf(config, layer, role, mlp)) {
    site.channels += linear.channels(config);
    ++site.linears;
  }
  return site;
}

std::vector<Layers::Part> PartsOf(const ModelConfig& config, const WeightFormats& formats,
                                  int64_t layer, int64_t tokens) {
  const auto site = [&](ActSite role, MlpId mlp, int64_t entering) {
    return CountSite(config, formats, layer, role, mlp, entering);
  };
  std::vector<Layers::Part> parts(1);
  const bool is_mixture = config.is_mixture(layer);
  for (const SiteId& id : SitesOf(config, layer)) {
    const ActSite role = id.role;
    // Of a mixture kMlpIn alone, and without its linears: there is no dense MLP.
    if (role == ActSite::kMlpMid && is_mixture) continue;
    Site& added = parts[0].sites.emplace_back(site(role, {}, tokens));
    if (role == ActSite::kMlpIn && is_mixture) {
      added.channels = added.linears = 0;
    }
  }
  if (!is_mixture) return parts;
  const Mixture& mixture = config.mixture;
  const auto add_mlp = [&](MlpId mlp, int64_t count, int64_t entering) {
    Layers::Part& part = parts.emplace_back();
    part.count = count;
    part.sites = {site(ActSite::kMlpIn, mlp, entering), site(ActSite::kMlpMid, mlp, entering)};
    part.sites[0].is_observed = false;
  };
  add_mlp({MlpKind::kExpert}, mixture.experts, tokens * mixture.active / mixture.experts);
  if (mixture.shared_width > 0) add_mlp({MlpKind::kShared}, 1, tokens);
  return parts;
}

// Takes over what is more memory in other layers of the kind.
void Unite(std::vector<Layers::Part>& parts, const std::vector<Layers::Part>& others) {
  for (size_t i = 0; i < parts.size(); ++i) {
    for (size_t j = 0; j < parts[i].sites.size(); ++j) {
      int64_t& group_size = parts[i].sites[j].group_size;
      group_size = std::min(group_size, others[i].sites[j].group_size);
    }
  }
}

Counts Count(const ModelConfig& config, const QuantRecipe& recipe, const WeightFormats& formats,
             int threads) {
  Counts counts{.config = config, .layers = {}, .gram = RoundingOf(recipe).uses_gram};
  counts.threads = threads;
  counts.tokens = ChosenTokens(recipe, config);
  counts.self_tokens = SelfTokens(recipe.calibration, counts.tokens);
  counts.sequence = std::min({recipe.sequence_length, config.max_positions, counts.tokens});
  for (const bool is_mixture : {false, true}) {
    Layers alike;
    for (int64_t layer = 0; layer < config.layers; ++layer) {
      if (config.is_mixture(layer) != is_mixture) continue;
      std::vector<Layers::Part> parts = PartsOf(config, formats, layer, counts.tokens);
      if (++alike.count == 1) {
        alike.parts = std::move(parts);
      } else {
        Unite(alike.parts, parts);
      }
    }
    if (alike.count > 0) counts.layers.push_back(std::move(alike));
  }
  counts.max_k = counts.Most(
      [](const Layers::Part& part) { return std::ranges::max(part.sites, {}, &Site::k).k; });
  return counts;
}

// --- Memory, in floats unless said otherwise ---

// Scratch of a forward pass (Activations).
int64_t ActivationFloats(const Counts& c, int64_t rows, int64_t logits_rows) {
  const ModelConfig& config = c.config;
  const int64_t qkv = config.query_width() + 2 * config.kv_width();
  const int64_t input = c.max_k + c.max_k / 4 + c.max_k / kMinGroupSize + 2;
  const Mixture& mixture = config.mixture;
  const int64_t mixed =
      mixture.experts > 0 ? 2 * config.hidden + 2 * mixture.experts + 6 * (mixture.active + 1) : 0;
  return rows * (2 * config.hidden + qkv + config.query_width() + 2 * config.WidestMlp() +
                 config.head_dim + mixed) +
         std::max(rows, logits_rows) * input + logits_rows * config.vocab;
}

// A part of a layer runs over the calibration tokens, is decided on, and is rounded.
int64_t PartFloats(const Counts& c, const Layers::Part& part) {
  const int64_t weights = part.Weights();
  const auto gram = [&](const Site& s) { return c.gram && s.group_size > 0 ? s.k * s.k : 0; };
  int64_t grams = 0, samples = 0, most_tried = 0, shared = 0;
  for (const Site& s : part.sites) {
    grams += gram(s);
    samples += kSampleRows * s.k;
    if (!s.is_observed) shared += gram(s) + kSampleRows * s.k;  // kept beside the copy of each part
    // Tried on some channels at a time, with the inputs exact and quantized in four ways.
    const int64_t block = std::min(kMeasuredChannels, s.channels) * s.k;
    const int64_t tried = 5 * kSampleRows * (s.k + s.k / 2) + 2 * kSampleRows * kMeasuredChannels +
                          3 * block + block / 4;
    const int64_t equalized = s.weights() / kEqualizationRowStep * 5 / 4;
    most_tried = std::max({most_tried, tried, equalized});
  }
  // One sequence's rows as X^T.
  const int64_t run = weights + grams + samples + (c.gram ? 2 * c.max_k * c.sequence : 0);
  int64_t most = std::max(run, weights + grams + samples + most_tried);
  int64_t left = weights, grams_left = grams;
  for (const Site& s : part.sites) {
    // The rounded weights, packed, and as bytes; what threads hold while they round.
    const int64_t result = s.weights() / 4 + s.weights() / 8 + s.groups() * 2;
    const int64_t scratch = c.threads * s.k * (4 * 128 + OutputError::kMaxGroup);
    most = std::max(most, left + grams_left + (c.gram ? gram(s) + scratch : 0) + result);
    left -= s.weights();
    grams_left -= gram(s);
  }
  return most + shared;
}

int64_t LayerFloats(const Counts& c) {
  // Through all of it: one sequence's activations, keys and values.
  const int64_t base = ActivationFloats(c, c.sequence, 0) + 2 * c.sequence * c.config.kv_width();
  return base + c.Most([&](const Layers::Part& part) { return PartFloats(c, part); });
}

// The model writes its calibration text: keys, values and logits of all sequences; before that a
// part of a layer at a time is read and becomes int8.
int64_t TextBytes(const Counts& c) {
  const SelfTextOptions options = c.TextOptions();
  const int64_t slots = SelfTextSlots(c.config, options);
  const int64_t read = c.Most([](const Layers::Part& part) { return part.Weights(); });
  return std::max(read * kFloat, slots * SelfTextSlotBytes(c.config, options) +
                                     kFloat * ActivationFloats(c, slots, slots));
}

// --- Bytes on disk ---

// What is in no linear of a layer, as stored.
int64_t StoredOtherBytes(const ModelSource& source, const QuantRecipe& recipe,
                         int64_t linear_weights) {
  const DataType dtype = source.config().dtype;
  int64_t elements = -linear_weights, outer_bytes = 0;
  for (const auto& [name, tensor] : source.checkpoint().tensors()) {
    elements += tensor.ElementCount();
  }
  for (const UsedTensor& outer : source.OuterTensors()) {
    elements -= outer.tensor->ElementCount();
    for (const auto& stored : StoredAs(outer, OuterQuantization(source, recipe, outer), dtype)) {
      outer_bytes += stored.Bytes();
    }
  }
  const std::string head = source.Name(source.arch().head) + ".weight";
  if (source.config().tied_head && source.checkpoint().Contains(head)) {
    elements -= source.checkpoint().Get(head).ElementCount();
  }
  return elements * BlockSizeOf(dtype).bytes + outer_bytes;
}

// Of the linears of all layers as stored, with input scales, which static sites alone have.
int64_t StoredLayersBytes(const ModelConfig& config, const WeightFormats& formats) {
  constexpr int64_t kShapeBytes = 16;
  const int64_t size = BlockSizeOf(config.dtype).bytes;
  int64_t bytes = 0;
  for (int64_t layer = 0; layer < config.layers; ++layer) {
    for (const LayerLinear& linear : LinearsOf(config, layer)) {
      const WeightFormat& format = formats.at(layer, *linear.spec);
      const int64_t channels = linear.channels(config), k = linear.k(config);
      bytes +=
          format.group_size == 0
              ? channels * k * size
              : format.StoredBits(channels, k, 8 * static_cast<int>(size)) / 8 + kShapeBytes + size;
    }
  }
  return bytes;
}

// --- Time ---

// What is not counted beside what is: row operations, copies, layouts.
constexpr double kUncounted = 1.1;

// Scores and sums of values, each token with half of its sequence, for all that a layer does. They
// take four times as long as a GEMM of as many operations.
double AttentionSeconds(const Counts& c, const MachineSpeed& speed) {
  const double pairs = static_cast<double>(c.tokens) * static_cast<double>(c.sequence);
  const double ops = 2 * pairs * static_cast<double>(c.config.query_width());
  return 4 * ops / speed.float_ops;
}

double LayerSeconds(const Counts& c, const Layers& layers, const QuantRecipe& recipe,
                    const MachineSpeed& speed) {
  const auto weights = static_cast<double>(layers.Weights());
  double float_ops = 0, gptq_ops = 0, observed = 0;
  double searched = recipe.weight_bits == 4 ? weights : 0;
  for (const Layers::Part& part : layers.parts) {
    const auto count = static_cast<double>(part.count);
    for (const Site& s : part.sites) {
      const auto k = static_cast<double>(s.k), site_weights = static_cast<double>(s.weights());
      const double tokens = static_cast<double>(s.tokens);
      float_ops += count * 2 * site_weights * tokens;
      if (s.is_observed) observed += count * tokens * k;
      if (!c.gram || s.group_size == 0) continue;
      if (s.is_observed) float_ops += count * tokens * k * k;
      if (s.linears == 0) continue;
      float_ops += count * k * k * k / 3;
      gptq_ops += count * 2 * GptqGemmPasses(kGptqSweeps) * site_weights * k;
    }
  }
  if (recipe.policy == PolicyMode::kAuto && recipe.activation_bits == 8) {
    float_ops += 2 * weights * static_cast<double>(kSampleRows) * 5;
    searched += 2 * weights;
  }
  if (RoundingOf(recipe).equalizes) {
    searched += weights * static_cast<double>(kEqualizationTries) / kEqualizationRowStep;
  }
  // An activation is looked at about twice as long as a weight is read.
  return float_ops / speed.float_ops + gptq_ops / speed.gptq_ops + searched / speed.group_weights +
         2 * weights / speed.read_weights + 2 * observed / (speed.read_weights * c.threads) +
         AttentionSeconds(c, speed);
}

double TextSeconds(const Forecast& forecast, const Counts& c, const MachineSpeed& speed) {
  // Beyond the rows that were measured it is arithmetic that takes the time.
  const double rows = std::max(
      1.0, static_cast<double>(SelfTextSlots(c.config, c.TextOptions())) / MachineSpeed::kInt8Rows);
  return static_cast<double>(forecast.text_bytes) * static_cast<double>(forecast.text_steps) *
             rows / speed.int8_bytes +
         static_cast<double>(c.self_tokens * c.config.vocab) / speed.sampled +
         static_cast<double>(c.config.layers) * AttentionSeconds(c, speed) *
             static_cast<double>(c.self_tokens) / static_cast<double>(c.tokens) +
         2 * static_cast<double>(c.Weights()) / speed.read_weights;
}

// Of the model that writes its own calibration text, in int8.
int64_t TextModelBytes(const Counts& c) { return c.Weights() + c.config.vocab * c.config.hidden; }

// All but what lies in files.
int64_t MemoryBytes(const Counts& c) {
  // What any process of this kind holds: code, tokenizer, names of tensors.
  constexpr int64_t kProcessBytes = 150'000'000;
  // The tokens, and their record in the journal while it is written; what stands for a sequence.
  constexpr int64_t kTokenBytes = 40, kSequenceBytes = 500;
  const int64_t text = c.self_tokens > 0 ? TextBytes(c) : 0;
  return kProcessBytes + c.tokens * kTokenBytes + c.Sequences() * kSequenceBytes +
         std::max(LayerFloats(c) * kFloat, text);
}

std::string Gigabytes(int64_t bytes) {
  return fmt::format("{:.1f} GB", static_cast<double>(bytes) / 1e9);
}

// What the files at and below a path take; links are not followed, and what is gone takes nothing.
int64_t BytesIn(const fs::path& path) {
  std::error_code error;
  const fs::file_type type = fs::symlink_status(path, error).type();
  int64_t bytes = 0;
  if (type == fs::file_type::regular) {
    const std::uintmax_t size = fs::file_size(path, error);
    if (!error) bytes = static_cast<int64_t>(size);
  } else if (type == fs::file_type::directory) {
    for (const fs::path& entry : EntriesOf(path)) bytes += BytesIn(entry);
  }
  return bytes;
}

}  // namespace

Forecast ForecastQuantization(const ModelSource& source, const QuantRecipe& recipe, int threads,
                              const MachineSpeed& speed) {
  const ModelConfig& config = source.config();
  const WeightFormats formats(recipe, config);
  const Counts c = Count(config, recipe, formats, threads);
  Forecast forecast;

  const int64_t layers_bytes = StoredLayersBytes(config, formats);
  forecast.output_bytes = layers_bytes + StoredOtherBytes(source, recipe, c.Weights());
  // The layers wait in a file of their own for the output; the hidden states stand in memory's
  // place, after the last layer, and after the one before it.
  const int64_t layers_disk =
      layers_bytes + forecast.output_bytes + 3 * c.HiddenBytes() + c.MixtureBytes();
  forecast.disk_bytes = layers_disk;
  forecast.memory_bytes = MemoryBytes(c);
  if (c.self_tokens > 0) {
    const int64_t slots = SelfTextSlots(config, c.TextOptions());
    forecast.text_bytes = TextModelBytes(c);
    forecast.text_steps = (c.SelfSequences() + slots - 1) / slots * c.sequence;
    forecast.disk_bytes = std::max(forecast.disk_bytes, forecast.text_bytes);
    forecast.seconds += TextSeconds(forecast, c, speed);
  }
  forecast.seconds += static_cast<double>(source.checkpoint().TensorBytes()) / speed.checked_bytes;
  for (const Layers& layers : c.layers) {
    forecast.seconds += static_cast<double>(layers.count) * LayerSeconds(c, layers, recipe, speed);
  }
  return forecast;
}

Forecast ForecastPlan(const ModelSource& source, const QuantRecipe& recipe, int threads) {
  const WeightFormats formats(recipe, source.config());
  const Counts c = Count(source.config(), recipe, formats, threads);
  Forecast forecast;
  forecast.memory_bytes = MemoryBytes(c) + c.HiddenBytes() + c.MixtureBytes();
  if (c.self_tokens > 0) forecast.memory_bytes += TextModelBytes(c);
  return forecast;
}

MachineLimits LimitsFor(const fs::path& output) {
  MachineLimits limits{.memory_bytes = AvailableMemory(), .disk_bytes = INT64_MAX};
  const fs::path work = OutputFolder::WorkPath(output);
  struct statvfs status = {};
  if (statvfs(work.parent_path().c_str(), &status) == 0) {
    limits.disk_bytes =
        CheckedMultiply(static_cast<int64_t>(status.f_bavail),
                        static_cast<int64_t>(status.f_frsize), work.parent_path().string());
  }
  limits.disk_bytes += BytesIn(work);
  return limits;
}

void CheckLimits(const Forecast& forecast, const MachineLimits& limits, std::string_view where) {
  const auto fail = [&](std::string_view what) {
    throw Error(ErrorKind::kResource,
                fmt::format("{}: expected {} (--ignore-limits begins all the same)", where, what));
  };
  if (forecast.disk_bytes > limits.disk_bytes) {
    fail(fmt::format("{} of free disk, found {}", Gigabytes(forecast.disk_bytes),
                     Gigabytes(limits.disk_bytes)));
  }
  if (forecast.memory_bytes > limits.memory_bytes) {
    fail(fmt::format("{} of free memory, found {}", Gigabytes(forecast.memory_bytes),
                     Gigabytes(limits.memory_bytes)));
  }
  if (forecast.text_bytes > limits.memory_bytes - forecast.memory_bytes) {
    fail(fmt::format(
        "memory to hold the {} of weights that the model reads {} times to write its calibration "
        "text, or --calibration random or a text file; found {}",
        Gigabytes(forecast.text_bytes), forecast.text_steps,
        Gigabytes(limits.memory_bytes - forecast.memory_bytes)));
  }
}

}  // namespace fptq
