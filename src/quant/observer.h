// What calibration learns about the activations of a site.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "base/thread_pool.h"
#include "model/transformer.h"

namespace fptq {

struct ActivationStats {
  std::vector<float> absmax;        // [k], max|X_j|
  std::vector<double> sum_squares;  // [k], sum of X_j^2
  int64_t rows = 0;

  double Range() const;  // v = max|X|
  std::vector<float> MeanSquares() const;
};

using LayerStats = std::array<ActivationStats, kActSites>;  // by ActSite

// Collects the statistics of one layer. The result does not depend on the number of threads: a
// channel is summed by one thread, row after row.
class StatsObserver : public ActivationObserver {
 public:
  StatsObserver(const ModelConfig& config, ThreadPool& pool);

  void Observe(int64_t layer, ActSite site, std::span<const float> rows, int64_t n_rows) override;

  // The statistics. Error naming the layer and the site if an activation was NaN or infinite.
  LayerStats Finish(int64_t layer) const;

 private:
  ThreadPool& pool_;
  LayerStats stats_;
};

}  // namespace fptq
