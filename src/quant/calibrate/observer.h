// What quantization learns from the activations of a layer.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/tensor.h"
#include "base/thread_pool.h"
#include "model/transformer.h"

namespace fptq {

// The rows X that entered the linears of a site, [rows, k].
struct SiteStatistics {
  int64_t rows = 0;
  std::vector<float> absmax;        // [k], max|X_j|
  std::vector<double> sum_squares;  // [k], sum of X_j^2
  int64_t sample_rows = 0;
  AlignedBuffer<float> sample;  // [sample_rows, k]: rows at even distances
  AlignedBuffer<float> gram;    // [k, k]: X^T X, if it was asked for and groups divide k

  int64_t k() const { return std::ssize(absmax); }
  double Range() const;                    // v = max|X|
  std::vector<float> MeanSquares() const;  // [k], of X_j; 0 if there are no rows

  SiteStatistics Copy() const;
  // As if nothing were known of the inputs: all have the mean square 1, and no range.
  void Forget();
  // The statistics of X' = X diag(s)^-1.
  void DivideChannels(std::span<const float> scales, ThreadPool& pool);
};

using LayerStatistics = std::vector<SiteStatistics>;  // by site

// Rows of a site's input that quantization keeps to measure errors on.
inline constexpr int64_t kSampleRows = 512;

struct ObserverOptions {
  int64_t rows = 0;         // how many a site will see
  int64_t sample_rows = 0;  // of which so many are kept, or all if there are fewer
  bool gram = false;
};

// Collects the statistics of sites of one layer. They do not depend on the number of threads: a
// channel, and an element of X^T X, is summed by one thread, row after row.
class LayerObserver : public ActivationObserver {
 public:
  LayerObserver(const ModelConfig& config, std::vector<SiteId> sites,
                const ObserverOptions& options, ThreadPool& pool);

  void Observe(int64_t layer, const SiteId& site, std::span<const float> rows,
               int64_t n_rows) override;

  // The statistics. Error naming the layer and the site if an activation was NaN or infinite.
  LayerStatistics Finish(int64_t layer);

 private:
  void AddChannels(SiteStatistics& site, std::span<const float> rows, int64_t n_rows);
  void AddSample(SiteStatistics& site, std::span<const float> rows, int64_t n_rows);
  bool HasGram(const SiteStatistics& site) const;
  void AddGram(SiteStatistics& site, std::span<const float> rows, int64_t n_rows);

  std::vector<SiteId> sites_;
  ObserverOptions options_;
  ThreadPool& pool_;
  LayerStatistics statistics_;
  AlignedBuffer<float> transposed_;  // [k, n_rows]
  AlignedBuffer<float> tiles_;       // [k / 16, n_rows, 16]
};

}  // namespace fptq
