// How often static activation scales clamp.
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "model/site.h"

namespace fptq {

// Of a site with a static scale; a dynamic one has no rows here. An activation saturates if it lies
// more than half a step beyond the int8 range, which is more than rounding moves any other.
struct SiteSaturation {
  std::atomic<int64_t> rows = 0, saturated_rows = 0;  // a row: with at least one such activation
  std::atomic<int64_t> values = 0, saturated_values = 0;  // activations, rows * K in all
};

// Counts are sums over all rows seen, from any number of threads.
class Saturation {
 public:
  explicit Saturation(const ModelConfig& config) {
    for (int64_t layer = 0; layer < config.layers; ++layer) {
      sites_.emplace_back(SitesOf(config, layer).size());
    }
  }

  SiteSaturation& at(const ModelConfig& config, int64_t layer, const SiteId& site) {
    return sites_[static_cast<size_t>(layer)][SiteIndex(config, site)];
  }

 private:
  std::vector<std::vector<SiteSaturation>> sites_;  // by layer
};

}  // namespace fptq
