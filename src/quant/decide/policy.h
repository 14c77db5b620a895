// The decision for each activation site of a layer: how it is equalized, and whether its scale is
// static or per token.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "model/weights/float_layer.h"
#include "quant/calibrate/observer.h"
#include "quant/decide/weight_formats.h"
#include "quant/recipe.h"

namespace fptq {

struct Alternative {
  ActChoice choice;
  double error = 0;  // SiteErrorMeter
};

// What is decided for a site of a layer, and why.
struct SitePolicy {
  int64_t layer = 0;
  SiteId site;
  double range = 0;                   // v = max|X| over the calibration tokens
  std::vector<float> channel_absmax;  // [k], max|X_j|
  double weight_exponent = 0;         // a of EqualizeForWeights, which went before
  ActChoice choice;
  double equalized_range = 0;         // max|X'|; v if not equalized
  std::vector<float> channel_scales;  // [k], s of X' = X diag(s)^-1; empty if not equalized
  float scale = 0;                    // static: as stored; else 0
  int64_t group_size = 0;  // of the weights of the site's linears; 0: no group divides their K, and
                           // they stay float
  bool symmetric = true;   // as GroupFormat has it
  std::string reason;
  std::vector<std::string> notes;         // what is not as asked for, for the user to know
  std::vector<Alternative> alternatives;  // of the policy auto, the chosen one among them

  bool quantizes_weights() const { return group_size > 0; }
  bool HasZeroPoints(int bits) const { return bits == 4 && !symmetric; }
};
using LayerPolicy = std::vector<SitePolicy>;  // by site

// A layer, or a part of one, as calibration leaves it.
struct ObservedLayer {
  const ModelConfig& config;
  const WeightFormats& formats;
  int64_t layer;
  const SourceLayer& source;
  const LayerStatistics& statistics;  // by source.sites
};

// The least number of calibration tokens that anything is fitted to. Where tokens of use are like
// those of calibration, the next one goes beyond the range of n of them with a probability of
// 1 / (n + 1), and a static scale cuts it off: 0.2 % of all tokens, with what a default sequence
// has.
inline constexpr int64_t kMinFittedTokens = 512;

// What fewer calibration tokens reach, as an expert of a mixture, is decided on and rounded as if
// nothing were known of its inputs.
inline constexpr int64_t kMinExpertTokens = 128;

// The policy of the sites of a layer.
//  paper    v <= v0 static; v0 < v < v1 equalized, then static; v >= v1 dynamic. Where it asks to
//           equalize but there is no norm to fold into, or equalization is off: dynamic.
//  auto     measures the output error of each scheme with rounded weights, with and without
//           equalization, and takes the best dynamic one. With less than kMinFittedTokens: not
//           equalized.
//  static, dynamic   that scheme everywhere, equalized where there is a norm to fold into.
// Activations of 16 bits are float everywhere. Overrides go before all of them; Error if one asks
// to equalize a site that has no producer. The input of a mixture, which nothing can equalize, is
// dynamic without a measurement, and so is what few tokens reach, whatever the policy. Whatever
// asks for a static scale that the model's type does not have gets a dynamic one. Linears whose K
// no group divides stay float, and so do their inputs.
LayerPolicy DecidePolicy(const ObservedLayer& layer, const QuantRecipe& recipe, ThreadPool& pool);
// Of one of its sites.
SitePolicy DecideSite(const ObservedLayer& layer, size_t site, const QuantRecipe& recipe,
                      ThreadPool& pool);

// The paper's rule alone.
struct PaperChoice {
  ActChoice choice;
  std::string reason;
};
PaperChoice ChooseByRange(const QuantRecipe& recipe, double range, bool has_norm);

// The scale of static int8 quantization for activations up to `range`, rounded to `dtype` as it is
// stored: range / 127.5, since q = clamp(round(x / scale), -128, 127). None if that is not among
// the normal numbers of the type: all activations would be 0, or infinite.
std::optional<float> StaticScale(double range, DataType dtype);

// "3 of 8 sites: NOTE" for each note of some of them; of experts their names follow.
std::vector<std::string> CollectNotes(std::span<const SitePolicy> sites);

// Output channels that the policy auto measures together.
inline constexpr int64_t kMeasuredChannels = 2048;

}  // namespace fptq
