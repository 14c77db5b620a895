// What quantizing activations and weights costs at the output of a site's linears, measured on
// sampled rows.
#pragma once

#include <span>
#include <vector>

#include "base/thread_pool.h"
#include "model/weights/linear.h"
#include "quant/calibrate/observer.h"

namespace fptq {

// The relative error of Y = X W^T when X / s is quantized, by the engine's own kernel, and enters
// W': sqrt(mean over rows of |Y - Y'|^2 / |Y|^2), where Y' = Q(X / s) W'^T. Rows count alike,
// however large their outputs are: a norm follows. Several quantizations are measured side by side,
// some output channels at a time, so that no copy of all weights is needed.
class SiteErrorMeter {
 public:
  // `inputs` must outlive this; at least one row is sampled.
  SiteErrorMeter(const SiteStatistics& inputs, ThreadPool& pool);

  // Another quantization of activations, with s = `channel_scales`. `static_scale` 0: per token.
  // Returns its number: 0, 1, ...
  size_t AddQuantization(std::span<const float> channel_scales, float static_scale);

  // Some output channels of W, float. What follows is about them.
  void SetChannels(const Linear& exact);
  // The same of W', with s in them; once for each quantization.
  void Measure(size_t quantization, const Linear& rounded);

  // Of all channels so far.
  double Error(size_t quantization) const;

 private:
  struct Quantization {
    LinearInput rows;            // Q(X / s)
    std::vector<double> errors;  // of each row: |Y - Y'|^2
  };

  const SiteStatistics& inputs_;
  ThreadPool& pool_;
  LinearInput rows_;           // X
  std::vector<double> norms_;  // of each row: |Y|^2
  std::vector<Quantization> quantizations_;
  AlignedBuffer<float> exact_, quantized_;  // [sample_rows, channels]
};

}  // namespace fptq
