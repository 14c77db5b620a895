// What quantizing activations and weights costs at the output of a site's linears, measured on
// sampled rows.
#pragma once

#include <span>

#include "base/tensor.h"
#include "base/thread_pool.h"
#include "model/linear.h"
#include "quant/observer.h"

namespace fptq {

class SiteErrorMeter {
 public:
  // `linear`: the site's float linears. `inputs` must outlive this.
  SiteErrorMeter(const Linear& linear, const SiteStatistics& inputs, ThreadPool& pool);

  // The relative error of Y = X W^T when X / s is quantized, by the engine's own kernel, and enters
  // W': sqrt(mean over rows of |Y - Y'|^2 / |Y|^2), where Y' = Q(X / s) W'^T. `linear` are the
  // float linears W', with s in them. `static_scale` 0: per token. Rows count alike, however large
  // their outputs are: a norm follows.
  double Measure(const Linear& linear, std::span<const float> channel_scales, float static_scale);

 private:
  const SiteStatistics& inputs_;
  ThreadPool& pool_;
  LinearInput rows_;
  AlignedBuffer<float> exact_, quantized_;  // [sample_rows, channels]
};

}  // namespace fptq
