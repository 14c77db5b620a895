#include "quant/decide/equalize.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/math.h"
#include "quant/round/storage.h"

namespace fptq {

namespace {

// s where it is a normal positive number, else 1.
float UsableScale(double s) {
  const auto scale = static_cast<float>(s);
  return std::isnormal(scale) && scale > 0 ? scale : 1;
}

// What a norm multiplies by, as a file has it that stores it less `offset`.
float RoundNormWeight(float weight, DataType dtype, float offset) {
  return RoundToStored(weight - offset, dtype) + offset;
}

// The output channel of a site's producer that input channel j comes from.
int64_t ProducerChannel(const ModelConfig& config, ActSite site, int64_t j) {
  if (site != ActSite::kAttnOut) return j;
  const int64_t shared = config.heads / config.kv_heads;  // query heads of a KV head
  return j / config.head_dim / shared * config.head_dim + j % config.head_dim;
}

// Gives all input channels that come from one output channel the largest of their s.
void TieScales(const ModelConfig& config, ActSite site, std::span<float> scales) {
  std::vector<float> largest(scales.size());
  for (size_t j = 0; j < scales.size(); ++j) {
    float& tied =
        largest[static_cast<size_t>(ProducerChannel(config, site, static_cast<int64_t>(j)))];
    tied = std::max(tied, scales[j]);
  }
  for (size_t j = 0; j < scales.size(); ++j) {
    scales[j] =
        largest[static_cast<size_t>(ProducerChannel(config, site, static_cast<int64_t>(j)))];
  }
}

// Makes scales such that the producer can be divided by them.
void FitToProducer(const EqualizationGroup& group, const ModelConfig& config,
                   const SourceLayer& weights, std::span<float> scales) {
  if (group.kind == Producer::kLinear) {
    TieScales(config, group.site, scales);
  } else {
    Norm norm = weights.norm(group.site);
    FoldIntoNorm(norm, config.dtype, config.arch->norm_offset, scales);
  }
}

SourceLinear& FindLinear(const std::string& name, SourceLayer& weights) {
  for (std::vector<SourceLinear>& site : weights.linears) {
    for (SourceLinear& linear : site) {
      if (linear.name == name) return linear;
    }
  }
  throw Error("{}: expected a linear of the layer", name);
}

}  // namespace

std::vector<float> LaeScales(std::span<const float> absmax) {
  std::vector<float> scales(absmax.size());
  for (size_t j = 0; j < absmax.size(); ++j) {
    const double m = absmax[j];
    scales[j] = UsableScale(m / Log2(2 + m));
  }
  return scales;
}

std::vector<float> SmoothQuantScales(std::span<const float> absmax,
                                     std::span<const SourceLinear> linears) {
  std::vector<float> weight_absmax(absmax.size());
  for (const SourceLinear& linear : linears) {
    for (int64_t i = 0; i < linear.weight.size(); ++i) {
      float& m = weight_absmax[static_cast<size_t>(i % linear.k)];
      m = std::max(m, std::abs(linear.weight[i]));
    }
  }
  std::vector<float> scales(absmax.size());
  for (size_t j = 0; j < absmax.size(); ++j) {
    scales[j] = UsableScale(std::sqrt(double{absmax[j]} / double{weight_absmax[j]}));
  }
  return scales;
}

void FoldIntoNorm(Norm& norm, DataType dtype, float offset, std::span<float> scales) {
  FPTQ_CHECK(norm.weight.size() == scales.size());
  const float smallest = SmallestNormalStored(dtype);
  for (size_t j = 0; j < scales.size(); ++j) {
    const float weight = norm.weight[j], bias = norm.bias.empty() ? 0 : norm.bias[j];
    float folded = RoundNormWeight(weight / scales[j], dtype, offset);
    float folded_bias = RoundToStored(bias / (weight / folded), dtype);
    if (std::isfinite(folded) && std::abs(folded) >= smallest && std::isfinite(folded_bias)) {
      scales[j] = weight / folded;
    } else {
      scales[j] = 1;
      folded = RoundNormWeight(weight, dtype, offset);
      folded_bias = RoundToStored(bias, dtype);
    }
    norm.weight[j] = folded;
    if (!norm.bias.empty()) norm.bias[j] = folded_bias;
  }
}

void ScaleInputs(std::span<SourceLinear> linears, std::span<const float> scales, ThreadPool& pool) {
  for (SourceLinear& linear : linears) {
    FPTQ_CHECK(linear.k == std::ssize(scales));
    pool.ParallelFor(linear.channels, [&](int64_t begin, int64_t end) {
      for (int64_t n = begin; n < end; ++n) {
        float* row = linear.weight.data() + n * linear.k;
        for (int64_t j = 0; j < linear.k; ++j) row[j] *= scales[static_cast<size_t>(j)];
      }
    });
  }
}

double EqualizedRange(std::span<const float> absmax, std::span<const float> scales) {
  double range = 0;
  for (size_t j = 0; j < absmax.size(); ++j) {
    range = std::max(range, double{absmax[j]} / double{scales[j]});
  }
  return range;
}

std::vector<float> SiteScales(Equalization method, const EqualizationGroup& group,
                              const ModelConfig& config, const SourceLayer& weights,
                              std::span<const SourceLinear> linears, const SiteStatistics& inputs) {
  std::vector<float> scales(inputs.absmax.size(), 1.0f);
  switch (method) {
    case Equalization::kNone:
      return scales;
    case Equalization::kLae:
      scales = LaeScales(inputs.absmax);
      break;
    case Equalization::kSmoothQuant:
      scales = SmoothQuantScales(inputs.absmax, linears);
      break;
  }
  FitToProducer(group, config, weights, scales);
  return scales;
}

std::vector<float> PowerScales(std::span<const float> mean_squares, double exponent,
                               const EqualizationGroup& group, const ModelConfig& config,
                               const SourceLayer& weights) {
  double mean = 0;
  for (const float square : mean_squares) mean += square / static_cast<double>(mean_squares.size());
  const double floor = 1e-2 * mean;
  double log_mean = 0;
  for (const float square : mean_squares) {
    log_mean += Log(square + floor) / static_cast<double>(mean_squares.size());
  }
  std::vector<float> scales(mean_squares.size());
  for (size_t j = 0; j < scales.size(); ++j) {
    scales[j] = UsableScale(Exp(0.5 * exponent * (Log(mean_squares[j] + floor) - log_mean)));
  }
  FitToProducer(group, config, weights, scales);
  return scales;
}

void EqualizeSite(const EqualizationGroup& group, const ModelConfig& config, int64_t layer,
                  size_t site, std::span<const float> scales, SourceLayer& weights,
                  SiteStatistics& inputs, ThreadPool& pool) {
  if (group.kind == Producer::kNorm) {
    Norm& norm = weights.norm(group.site);
    for (size_t j = 0; j < norm.weight.size(); ++j) {
      norm.weight[j] =
          RoundNormWeight(norm.weight[j] / scales[j], config.dtype, config.arch->norm_offset);
    }
    for (size_t j = 0; j < norm.bias.size(); ++j) {
      norm.bias[j] = RoundToStored(norm.bias[j] / scales[j], config.dtype);
    }
  } else {
    const int64_t expert = weights.sites[site].mlp.expert;
    SourceLinear& producer =
        FindLinear(ModelSource::HfName(group.producer, layer, expert), weights);
    const int64_t first = group.first_channel == nullptr ? 0 : group.first_channel(config);
    std::vector<float> divisors(static_cast<size_t>(producer.channels), 1.0f);
    for (int64_t j = 0; j < std::ssize(scales); ++j) {
      const int64_t channel = first + ProducerChannel(config, group.site, j);
      divisors[static_cast<size_t>(producer.Row(channel))] = scales[static_cast<size_t>(j)];
    }
    for (int64_t n = 0; n < producer.channels; ++n) {
      float* row = producer.weight.data() + n * producer.k;
      for (int64_t j = 0; j < producer.k; ++j) row[j] /= divisors[static_cast<size_t>(n)];
    }
    for (size_t n = 0; n < producer.bias.size(); ++n) producer.bias[n] /= divisors[n];
  }
  ScaleInputs(weights.linears[site], scales, pool);
  inputs.DivideChannels(scales, pool);
}

}  // namespace fptq
