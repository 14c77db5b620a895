// How often static activation scales clamp.
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "model/arch/arch.h"

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
  explicit Saturation(int64_t layers) : sites_(static_cast<size_t>(layers * kActSites)) {}

  SiteSaturation& at(int64_t layer, ActSite site) {
    return sites_[static_cast<size_t>(layer * kActSites + static_cast<int64_t>(site))];
  }
  int64_t layers() const { return std::ssize(sites_) / kActSites; }

 private:
  std::vector<SiteSaturation> sites_;
};

}  // namespace fptq
