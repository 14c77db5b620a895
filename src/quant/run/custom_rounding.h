// Rounding by a function that is not ours.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "model/weights/float_layer.h"
#include "quant/decide/policy.h"
#include "quant/round/rounding.h"

namespace fptq {

// As in GroupQuantized; no zero points: all of them 0.
struct CustomRounded {
  std::vector<int8_t> q;
  std::vector<float> scales;
  std::vector<int8_t> zero_points = {};
};

// Asked for each linear of a site, with the bits that its integers have; nothing: the recipe's
// method rounds it.
using CustomRounding = std::function<std::optional<CustomRounded>(
    const SourceLinear& linear, int bits, const SitePolicy& site, const SiteStatistics& inputs)>;

// What the function makes of each linear, its scales as they read back, its error measured. Error
// naming the linear if q, scales or zero points have a wrong number of elements, q or zero points
// one that the bits do not hold, or the scales one that is not finite or 0; or if there are zero
// points where the format has none.
std::vector<std::optional<GroupQuantized>> RoundByCustom(const CustomRounding& rounding,
                                                         std::span<const SourceLinear> linears,
                                                         const SitePolicy& site,
                                                         const SiteStatistics& inputs,
                                                         const RoundingOptions& options);

}  // namespace fptq
