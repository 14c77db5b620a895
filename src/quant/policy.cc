#include "quant/policy.h"

#include <algorithm>
#include <map>

#include "base/error.h"
#include "model/model.h"
#include "quant/equalize.h"
#include "quant/group_quant.h"
#include "quant/nearest.h"
#include "quant/rounding.h"
#include "quant/site_error.h"
#include "quant/storage.h"

namespace fptq {
namespace {

// A site while it is being decided on.
struct Site {
  const ObservedLayer& layer;
  const QuantRecipe& recipe;
  ActSite site;
  const SiteStatistics& inputs;
  const EqualizationGroup* group;  // null: nothing can take over the factors

  bool has_norm() const { return group != nullptr && group->kind == Producer::kNorm; }
  int64_t group_size() const { return GroupSizeFor(inputs.k(), recipe.group_size); }
  std::string Name() const { return fmt::format("{}/{}", layer.layer, ActSiteName(site)); }

  std::vector<float> ChannelScales(Equalization method) const {
    if (method == Equalization::kNone) return std::vector<float>(inputs.absmax.size(), 1.0f);
    if (group == nullptr) {
      throw Error("{}: expected no equalization, as there is no producer to fold it into, found {}",
                  Name(), EqualizationName(method));
    }
    return SiteScales(method, *group, layer.config, layer.source, inputs);
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
      policy.notes.push_back(fmt::format("a static scale from {} calibration tokens, less than {}",
                                         inputs.rows, kMinFittedTokens));
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
  const DataType dtype = site.layer.config.dtype;
  const int64_t group_size = site.group_size();
  const GroupQuantized quantized =
      bits == 4 ? QuantizeGroups(linear, mean_squares, group_size, dtype, pool)
                : QuantizeNearest(linear, mean_squares, bits, group_size, dtype, pool);
  pool.ParallelFor(std::ssize(quantized.scales), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin * group_size; i < end * group_size; ++i) {
      linear.weight[i] = quantized.scales[static_cast<size_t>(i / group_size)] *
                         static_cast<float>(quantized.q[static_cast<size_t>(i)]);
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
  for (const SourceLinear& linear : site.layer.source.linears[static_cast<size_t>(site.site)]) {
    const int bits = WeightBits(site.recipe, site.layer.config, linear.weight.size());
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
    for (const SourceLinear& linear : site.layer.source.linears[static_cast<size_t>(site.site)]) {
      if (item.pattern.MatchesWhole(linear.name)) return &item;
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
        policy.notes.push_back(fmt::format("per token: {}", policy.reason));
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
  std::map<std::string, int64_t> counts;
  for (const SitePolicy& site : sites) {
    for (const std::string& note : site.notes) ++counts[note];
  }
  std::vector<std::string> notes;
  for (const auto& [note, count] : counts) {
    notes.push_back(fmt::format("{} of {} sites: {}", count, sites.size(), note));
  }
  return notes;
}

LayerPolicy DecidePolicy(const ObservedLayer& layer, const QuantRecipe& recipe, ThreadPool& pool) {
  LayerPolicy policies;
  for (const ActSite act_site : kAllActSites) {
    const Site site{.layer = layer,
                    .recipe = recipe,
                    .site = act_site,
                    .inputs = layer.statistics[static_cast<size_t>(act_site)],
                    .group = FindEqualization(*layer.config.arch, act_site)};
    SitePolicy& policy = policies[static_cast<size_t>(act_site)];
    policy.layer = layer.layer;
    policy.site = act_site;
    policy.range = site.inputs.Range();
    policy.channel_absmax = site.inputs.absmax;
    policy.group_size = site.group_size();
    if (!policy.quantizes_weights()) {
      policy.choice = {Equalization::kNone, ActScheme::kFloat};
      policy.reason =
          fmt::format("{} inputs, not a multiple of 32: the weights stay float", site.inputs.k());
      policy.notes.push_back(policy.reason);
    } else {
      Choose(site, pool, policy);
    }
    site.Complete(policy);
  }
  return policies;
}

}  // namespace fptq
