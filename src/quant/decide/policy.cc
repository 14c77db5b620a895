#include "quant/decide/policy.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <map>

#include "base/error.h"
#include "model/model.h"
#include "quant/decide/equalize.h"
#include "quant/decide/site_error.h"
#include "quant/round/group_quant.h"
#include "quant/round/nearest.h"
#include "quant/round/rounding.h"
#include "quant/round/storage.h"

namespace fptq {
namespace {

// A site while it is being decided on.
struct Site {
  const ObservedLayer& layer;
  const QuantRecipe& recipe;
  SiteId site;
  std::span<const SourceLinear> linears;
  const SiteStatistics& inputs;
  const EqualizationGroup* group;  // null: nothing can take over the factors

  bool has_norm() const { return group != nullptr && group->kind == Producer::kNorm; }
  GroupFormat groups() const { return layer.formats.groups(layer.layer, site); }
  std::string Name() const { return fmt::format("{}/{}", layer.layer, SiteName(site)); }
  // An MLP of a mixture, of which each sees another number of tokens.
  bool is_routed() const { return site.mlp.kind == MlpKind::kExpert; }

  std::vector<float> ChannelScales(Equalization method) const {
    if (method == Equalization::kNone) return std::vector<float>(inputs.absmax.size(), 1.0f);
    if (group == nullptr) {
      throw Error("{}: expected no equalization, as there is no producer to fold it into, found {}",
                  Name(), EqualizationName(method));
    }
    return SiteScales(method, *group, layer.config, layer.source, linears, inputs);
  }

  // Fills what follows from `policy.choice`.
  void Complete(SitePolicy& policy) const {
    const std::vector<float> scales = ChannelScales(policy.choice.equalization);
    policy.equalized_range = EqualizedRange(inputs.absmax, scales);
    if (policy.choice.scheme == ActScheme::kStatic) CompleteStatic(policy);
    if (policy.choice.equalization != Equalization::kNone) policy.channel_scales = scales;
  }

  void CompleteStatic(SitePolicy& policy) const {
    const std::string_view dtype = DataTypeName(layer.config.dtype);
    if (const auto scale = StaticScale(policy.equalized_range, layer.config.dtype)) {
      policy.scale = *scale;
      if (inputs.rows >= kMinFittedTokens) return;
      policy.notes.push_back(
          is_routed()
              ? fmt::format("a static scale from less than {} calibration tokens", kMinFittedTokens)
              : fmt::format("a static scale from {} calibration tokens, less than {}", inputs.rows,
                            kMinFittedTokens));
    } else {
      policy.choice.scheme = ActScheme::kDynamic;
      policy.reason +=
          fmt::format(", but {} has no scale for a range of {}", dtype, policy.equalized_range);
      policy.notes.push_back(
          fmt::format("per token, as {} has no static scale for their range", dtype));
    }
  }
};

// Output channels [first, first + channels) of a linear, multiplied by `scales`.
SourceLinear Channels(const SourceLinear& from, int64_t first, int64_t channels,
                      std::span<const float> scales, ThreadPool& pool) {
  SourceLinear part = {
      .name = from.name, .channels = channels, .k = from.k, .weight = {}, .bias = {}};
  part.weight.Resize(channels * from.k);
  std::copy_n(from.weight.data() + first * from.k, part.weight.size(), part.weight.data());
  if (!from.bias.empty())
    part.bias.assign(from.bias.begin() + first, from.bias.begin() + first + channels);
  ScaleInputs({&part, 1}, scales, pool);
  return part;
}

// The linear rounded to `bits`, as floats. 4 bits by QuantizeGroups whatever the
// recipe's method is: it need not be exact to tell which alternative is best.
Linear RoundedLinear(const Site& site, int bits, SourceLinear linear,
                     std::span<const float> mean_squares, ThreadPool& pool) {
  const GroupFormat format = site.groups();
  const GroupQuantized quantized = bits == 4
                                       ? QuantizeGroups(linear, mean_squares, format, pool)
                                       : QuantizeNearest(linear, mean_squares, bits, format, pool);
  pool.ParallelFor(std::ssize(quantized.scales), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin * format.size; i < end * format.size; ++i) {
      const int64_t group = i / format.size;
      linear.weight[i] =
          quantized.scales[static_cast<size_t>(group)] *
          static_cast<float>(quantized.q[static_cast<size_t>(i)] - quantized.ZeroPoint(group));
    }
  });
  return FloatLinear({&linear, 1}, pool);
}

// The alternatives with their errors, in the order in which an equal one goes first: the simplest.
std::vector<Alternative> MeasureAlternatives(const Site& site, ThreadPool& pool) {
  // The schemes of an equalization method share its rounded weights.
  struct Method {
    std::vector<float> scales, mean_squares;
    std::vector<size_t> quantizations;  // of the meter, and so alternatives
  };
  std::vector<Equalization> equalizations = {Equalization::kNone};
  if (site.group != nullptr && site.recipe.equalization != Equalization::kNone) {
    equalizations.push_back(site.recipe.equalization);
  }
  SiteErrorMeter meter(site.inputs, pool);
  std::vector<Alternative> alternatives;
  std::vector<Method> methods;
  for (const Equalization equalization : equalizations) {
    Method& method = methods.emplace_back();
    method.scales = site.ChannelScales(equalization);
    method.mean_squares = site.inputs.MeanSquares();
    for (size_t j = 0; j < method.scales.size(); ++j) {
      method.mean_squares[j] /= method.scales[j];
      method.mean_squares[j] /= method.scales[j];  // twice: the square of a small one vanishes
    }
    for (const ActScheme scheme : {ActScheme::kStatic, ActScheme::kDynamic}) {
      SitePolicy trial;
      trial.choice = {equalization, scheme};
      site.Complete(trial);
      if (trial.choice.scheme != scheme) continue;
      method.quantizations.push_back(meter.AddQuantization(method.scales, trial.scale));
      alternatives.push_back({.choice = trial.choice});
    }
  }
  const std::vector<float> ones(site.inputs.absmax.size(), 1.0f);
  for (const SourceLinear& linear : site.linears) {
    const int bits = site.layer.formats.at(site.layer.layer, *linear.spec).bits;
    for (int64_t first = 0; first < linear.channels; first += kMeasuredChannels) {
      const int64_t channels = std::min(kMeasuredChannels, linear.channels - first);
      const SourceLinear exact = Channels(linear, first, channels, ones, pool);
      meter.SetChannels(FloatLinear({&exact, 1}, pool));
      for (const Method& method : methods) {
        const Linear rounded =
            RoundedLinear(site, bits, Channels(linear, first, channels, method.scales, pool),
                          method.mean_squares, pool);
        for (const size_t quantization : method.quantizations) meter.Measure(quantization, rounded);
      }
    }
  }
  for (size_t i = 0; i < alternatives.size(); ++i) alternatives[i].error = meter.Error(i);
  return alternatives;
}

// The dynamic alternative of least error. A static one saves a pass over each row at run time, and
// is never much better; but a folder with one site of them is read by fewer engines (readers.h).
// Its error is there to be compared.
void ChooseByError(SitePolicy& policy) {
  const auto least = [&](ActScheme scheme) {
    const Alternative* best = nullptr;
    for (const Alternative& alternative : policy.alternatives) {
      if (alternative.choice.scheme != scheme) continue;
      if (best == nullptr || alternative.error < best->error) best = &alternative;
    }
    return best;
  };
  const Alternative* best = least(ActScheme::kDynamic);
  FPTQ_CHECK(best != nullptr);
  policy.choice = best->choice;
  policy.reason = fmt::format("least error per token, {:.2f} %", 100 * best->error);
  if (const Alternative* fixed = least(ActScheme::kStatic)) {
    policy.reason += fmt::format("; static {:.2f} %", 100 * fixed->error);
  }
}

// The first override whose pattern matches LAYER/SITE or the name of a linear of the site.
const SiteOverride* FindOverride(const Site& site) {
  for (const SiteOverride& item : site.recipe.overrides) {
    if (item.pattern.MatchesWhole(site.Name())) return &item;
    for (const LayerLinear& linear : LinearsOf(site.layer.config, site.layer.layer)) {
      if (linear.site() != site.site) continue;
      if (item.pattern.MatchesWhole(ModelSource::HfName(linear))) return &item;
    }
  }
  return nullptr;
}

void Choose(const Site& site, ThreadPool& pool, SitePolicy& policy) {
  if (const SiteOverride* item = FindOverride(site)) {
    policy.choice = item->choice;
    policy.reason = fmt::format("override '{}'", item->pattern.text());
    return;
  }
  if (site.recipe.activation_bits == 16) {
    policy.choice = {Equalization::kNone, ActScheme::kFloat};
    policy.reason = "activations of 16 bits";
    return;
  }
  if (site.is_routed() && site.inputs.rows < kMinExpertTokens) {
    policy.choice = {Equalization::kNone, ActScheme::kDynamic};
    policy.reason = fmt::format("{} calibration tokens", site.inputs.rows);
    policy.notes.push_back(
        fmt::format("per token, and rounded without activations: less than {} calibration tokens "
                    "came to the expert",
                    kMinExpertTokens));
    return;
  }
  const Equalization norm_only = site.has_norm() ? site.recipe.equalization : Equalization::kNone;
  switch (site.recipe.policy) {
    case PolicyMode::kPaper: {
      const PaperChoice paper = ChooseByRange(site.recipe, policy.range, site.has_norm());
      policy.choice = paper.choice;
      policy.reason = paper.reason;
      return;
    }
    case PolicyMode::kAuto:
      if (site.inputs.rows < kMinFittedTokens) {
        policy.choice = {Equalization::kNone, ActScheme::kDynamic};
        policy.reason = fmt::format("{} calibration tokens, equalization needs {}",
                                    site.inputs.rows, kMinFittedTokens);
        policy.notes.push_back(
            site.is_routed()
                ? fmt::format("per token: less than {} calibration tokens came to the expert",
                              kMinFittedTokens)
                : fmt::format("per token: {}", policy.reason));
        return;
      }
      if (site.linears.empty()) {
        policy.choice = {Equalization::kNone, ActScheme::kDynamic};
        policy.reason = "the input of all experts, which no norm equalizes";
        return;
      }
      policy.alternatives = MeasureAlternatives(site, pool);
      ChooseByError(policy);
      return;
    case PolicyMode::kStatic:
      policy.choice = {norm_only, ActScheme::kStatic};
      policy.reason = "policy static";
      return;
    case PolicyMode::kDynamic:
      policy.choice = {norm_only, ActScheme::kDynamic};
      policy.reason = "policy dynamic";
      return;
  }
}

}  // namespace

PaperChoice ChooseByRange(const QuantRecipe& recipe, double range, bool has_norm) {
  constexpr ActChoice kDynamic = {Equalization::kNone, ActScheme::kDynamic};
  if (range <= recipe.v0) return {{Equalization::kNone, ActScheme::kStatic}, "v <= v0"};
  if (range >= recipe.v1) return {kDynamic, "v >= v1"};
  if (recipe.equalization == Equalization::kNone) {
    return {kDynamic, "v0 < v < v1, equalization off"};
  }
  if (!has_norm) return {kDynamic, "v0 < v < v1, no norm to fold LAE into"};
  return {{recipe.equalization, ActScheme::kStatic}, "v0 < v < v1"};
}

std::optional<float> StaticScale(double range, DataType dtype) {
  const float scale = RoundToStored(static_cast<float>(range / 127.5), dtype);
  if (scale >= SmallestNormalStored(dtype) && scale <= LargestStored(dtype)) return scale;
  return std::nullopt;
}

std::vector<std::string> CollectNotes(std::span<const SitePolicy> sites) {
  constexpr size_t kMostNames = 8;
  struct Found {
    int64_t count = 0;
    std::vector<std::string> experts;  // their names, the first few
  };
  std::map<std::string, Found> all;
  for (const SitePolicy& site : sites) {
    for (const std::string& note : site.notes) {
      Found& found = all[note];
      ++found.count;
      if (site.site.mlp.kind == MlpKind::kExpert && found.experts.size() <= kMostNames) {
        found.experts.push_back(fmt::format("{}/{}", site.layer, SiteName(site.site)));
      }
    }
  }
  std::vector<std::string> notes;
  for (auto& [note, found] : all) {
    std::string& text =
        notes.emplace_back(fmt::format("{} of {} sites: {}", found.count, sites.size(), note));
    if (found.experts.empty()) continue;
    if (found.experts.size() > kMostNames) found.experts.back() = "...";
    text += fmt::format(": {}", fmt::join(found.experts, ", "));
  }
  return notes;
}

LayerPolicy DecidePolicy(const ObservedLayer& layer, const QuantRecipe& recipe, ThreadPool& pool) {
  LayerPolicy policies;
  for (size_t i = 0; i < layer.source.sites.size(); ++i) {
    policies.push_back(DecideSite(layer, i, recipe, pool));
  }
  return policies;
}

SitePolicy DecideSite(const ObservedLayer& layer, size_t index, const QuantRecipe& recipe,
                      ThreadPool& pool) {
  const SiteId id = layer.source.sites[index];
  const Site site{.layer = layer,
                  .recipe = recipe,
                  .site = id,
                  .linears = layer.source.linears[index],
                  .inputs = layer.statistics[index],
                  .group = FindEqualization(layer.config, layer.layer, id)};
  SitePolicy policy;
  policy.layer = layer.layer;
  policy.site = id;
  policy.range = site.inputs.Range();
  policy.channel_absmax = site.inputs.absmax;
  const GroupFormat groups = site.groups();
  policy.group_size = groups.size;
  policy.symmetric = groups.symmetric;
  if (!policy.quantizes_weights()) {
    policy.choice = {Equalization::kNone, ActScheme::kFloat};
    policy.reason =
        fmt::format("{} inputs, not a multiple of 32: the weights stay float", site.inputs.k());
    policy.notes.push_back(policy.reason);
  } else {
    Choose(site, pool, policy);
  }
  site.Complete(policy);
  return policy;
}

}  // namespace fptq
