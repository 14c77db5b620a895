#include "quant/observer.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace fptq {

double ActivationStats::Range() const { return absmax.empty() ? 0 : std::ranges::max(absmax); }

std::vector<float> ActivationStats::MeanSquares() const {
  std::vector<float> means(sum_squares.size());
  for (size_t j = 0; j < means.size(); ++j) {
    means[j] = static_cast<float>(sum_squares[j] / static_cast<double>(rows));
  }
  return means;
}

StatsObserver::StatsObserver(const ModelConfig& config, ThreadPool& pool) : pool_(pool) {
  for (const ActSite site : kAllActSites) {
    const auto k = static_cast<size_t>(SiteInputs(config, site));
    stats_[static_cast<size_t>(site)] = {std::vector<float>(k), std::vector<double>(k), 0};
  }
}

void StatsObserver::Observe(int64_t, ActSite site, std::span<const float> rows, int64_t n_rows) {
  ActivationStats& stats = stats_[static_cast<size_t>(site)];
  const int64_t k = std::ssize(stats.absmax);
  FPTQ_CHECK(std::ssize(rows) == n_rows * k);
  pool_.ParallelFor(k, [&](int64_t begin, int64_t end) {
    float* absmax = stats.absmax.data();
    double* sum_squares = stats.sum_squares.data();
    for (int64_t r = 0; r < n_rows; ++r) {
      const float* row = rows.data() + r * k;
      for (int64_t j = begin; j < end; ++j) {
        absmax[j] = std::max(absmax[j], std::abs(row[j]));
        sum_squares[j] += double{row[j]} * double{row[j]};
      }
    }
  });
  stats.rows += n_rows;
}

LayerStats StatsObserver::Finish(int64_t layer) const {
  for (const ActSite site : kAllActSites) {
    // NaN and infinity stay in a sum; squares of floats do not overflow a double.
    for (const double sum : stats_[static_cast<size_t>(site)].sum_squares) {
      if (!std::isfinite(sum)) {
        throw Error("layer {}, {}: expected finite activations in calibration, found {}", layer,
                    ActSiteName(site), sum);
      }
    }
  }
  return stats_;
}

}  // namespace fptq
