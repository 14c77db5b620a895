#include "quant/decide/weight_equalization.h"

#include <algorithm>
#include <string>
#include <vector>

#include "quant/decide/equalize.h"
#include "quant/round/group_quant.h"

namespace fptq {
namespace {

constexpr double kExponents[kEqualizationTries] = {0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6};

// Some output channels of all linears as one linear, with the input channels multiplied by s.
SourceLinear SampleChannels(std::span<const SourceLinear> linears, std::span<const float> scales,
                            ThreadPool& pool) {
  SourceLinear sample = {
      .name = linears[0].name, .channels = 0, .k = linears[0].k, .weight = {}, .bias = {}};
  for (const SourceLinear& linear : linears) {
    sample.channels += (linear.channels + kEqualizationRowStep - 1) / kEqualizationRowStep;
  }
  sample.weight.Resize(sample.channels * sample.k);
  float* to = sample.weight.data();
  for (const SourceLinear& linear : linears) {
    for (int64_t n = 0; n < linear.channels; n += kEqualizationRowStep) {
      to = std::copy_n(linear.weight.data() + n * linear.k, linear.k, to);
    }
  }
  ScaleInputs({&sample, 1}, scales, pool);
  return sample;
}

}  // namespace

std::vector<double> EqualizeForWeights(const ModelConfig& config, const WeightFormats& formats,
                                       int64_t layer, SourceLayer& weights,
                                       LayerStatistics& statistics, ThreadPool& pool) {
  std::vector<double> chosen(weights.sites.size());
  for (size_t index = 0; index < chosen.size(); ++index) {
    const EqualizationGroup* group = FindEqualization(config, layer, weights.sites[index]);
    const GroupFormat format = formats.groups(layer, weights.sites[index]);
    if (group == nullptr || format.size == 0) continue;
    const std::vector<float> mean_squares = statistics[index].MeanSquares();
    const std::vector<SourceLinear>& linears = weights.linears[index];
    std::vector<float> best;
    double least = 0;
    for (const double exponent : kExponents) {
      std::vector<float> scales = PowerScales(mean_squares, exponent, *group, config, weights);
      std::vector<float> d = mean_squares;
      for (size_t j = 0; j < d.size(); ++j) d[j] /= scales[j] * scales[j];
      const double error =
          QuantizeGroups(SampleChannels(linears, scales, pool), d, format, pool).relative_error;
      if (!best.empty() && !(error < least)) continue;
      least = error;
      chosen[index] = exponent;
      best = std::move(scales);
    }
    EqualizeSite(*group, config, layer, index, best, weights, statistics[index], pool);
  }
  return chosen;
}

}  // namespace fptq
