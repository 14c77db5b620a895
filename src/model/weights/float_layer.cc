#include "model/weights/float_layer.h"

#include <fmt/format.h>

#include <algorithm>
#include <span>
#include <utility>

#include "base/error.h"
#include "io/checkpoint.h"

namespace fptq {
namespace {

// The row of a GGUF file that holds our output channel `channel`.
int64_t GgufRow(const LinearSpec& spec, const ModelConfig& config, int64_t channel) {
  if (spec.row_order != RowOrder::kGgufRotaryPairs) return channel;
  const int64_t in_head = channel % config.head_dim, half = config.head_dim / 2;
  return channel - in_head + in_head % half * 2 + in_head / half;
}

// weight[n][k] = tensor[k][n]. Some rows of the tensor at a time, so that whole cache lines of
// `weight` are written.
void ReadTransposed(const TensorView& tensor, int64_t channels, int64_t k,
                    std::span<float> weight) {
  constexpr int64_t kRows = 16;
  std::vector<float> rows;
  for (int64_t begin = 0; begin < k; begin += kRows) {
    const int64_t count = std::min(kRows, k - begin);
    rows.resize(static_cast<size_t>(count * channels));
    DequantizeRange(tensor, begin * channels, rows);
    for (int64_t channel = 0; channel < channels; ++channel) {
      for (int64_t i = 0; i < count; ++i) {
        weight[static_cast<size_t>(channel * k + begin + i)] =
            rows[static_cast<size_t>(i * channels + channel)];
      }
    }
  }
}

}  // namespace

Norm& SourceLayer::norm(ActSite site) { return const_cast<Norm&>(std::as_const(*this).norm(site)); }

const Norm& SourceLayer::norm(ActSite site) const {
  FPTQ_CHECK(site == ActSite::kAttnIn || site == ActSite::kMlpIn);
  return norms.at(site == ActSite::kAttnIn ? NormRole::kAttn : NormRole::kMlp);
}

SourceLayer ReadLayer(const ModelSource& source, int64_t layer) {
  FPTQ_CHECK(!source.quantized());
  SourceLayer result;
  result.norms = source.ReadNorms(layer);
  result.sites = SitesOf(source.config(), layer);
  for (const SiteId& site : result.sites) {
    result.linears.push_back(ReadLinears(source, layer, site.role));
  }
  return result;
}

SourceLayer ReadAttention(const ModelSource& source, int64_t layer) {
  SourceLayer result;
  result.norms = source.ReadNorms(layer);
  result.sites = {ActSite::kAttnIn, ActSite::kAttnOut, ActSite::kMlpIn};
  for (const ActSite site : {ActSite::kAttnIn, ActSite::kAttnOut}) {
    result.linears.push_back(ReadLinears(source, layer, site));
  }
  result.linears.emplace_back();  // those of kMlpIn are the MLPs'
  result.float_linears = ReadFloatLinears(source, layer);
  return result;
}

SourceLayer ReadMlp(const ModelSource& source, int64_t layer, MlpId mlp) {
  SourceLayer result;
  result.sites = {ActSite::kMlpIn, SiteId(ActSite::kMlpMid, mlp)};
  for (const SiteId& site : result.sites) {
    result.linears.push_back(ReadLinears(source, layer, site.role, mlp));
  }
  return result;
}

std::vector<SourceLinear> ReadLinears(const ModelSource& source, int64_t layer, ActSite role,
                                      MlpId mlp) {
  std::vector<SourceLinear> linears;
  for (const LayerLinear& linear : LinearsOf(source.config(), layer, role, mlp)) {
    linears.push_back(ReadLinear(source, linear));
  }
  return linears;
}

std::vector<SourceLinear> ReadFloatLinears(const ModelSource& source, int64_t layer) {
  std::vector<SourceLinear> linears;
  for (const FloatLinearSpec& spec : FloatLinearsOf(source.config(), layer)) {
    SourceLinear& linear = linears.emplace_back();
    linear.name = ModelSource::HfName(spec.module, layer);
    linear.channels = spec.channels;
    linear.k = source.config().hidden;
    linear.weight.Resize(linear.channels * linear.k);
    const std::vector<float> weight =
        source.ReadVector(source.Name(spec.module, layer) + ".weight");
    std::ranges::copy(weight, linear.weight.data());
  }
  return linears;
}

SourceLinear ReadLinear(const ModelSource& source, const LayerLinear& from) {
  const ModelConfig& config = source.config();
  const LinearSpec& spec = *from.spec;
  const bool is_gguf = source.checkpoint().format() == Checkpoint::Format::kGguf;
  SourceLinear linear;
  linear.name = ModelSource::HfName(from);
  linear.channels = from.channels(config);
  linear.k = from.k(config);
  linear.spec = from.spec;
  linear.groups = QkvGroupsOf(spec, config);
  linear.weight.Resize(CheckedMultiply(linear.channels, linear.k, linear.name));

  const std::string module = source.Name(from);
  const bool is_stacked = source.IsStacked(from);
  std::vector<int64_t> shape = {linear.channels, linear.k};
  if (is_stacked) shape.insert(shape.begin(), config.mixture.experts);
  if (source.IsTransposed()) std::ranges::reverse(shape);
  const TensorView& weight = source.checkpoint().GetFloats(module + ".weight", shape);
  const int64_t first_row = is_stacked ? from.mlp.expert * linear.channels : 0;
  std::vector<float> bias;
  if (HasBias(spec, config)) {
    linear.bias.resize(static_cast<size_t>(linear.channels));
    if (source.checkpoint().Contains(module + ".bias")) bias = source.ReadVector(module + ".bias");
  }
  if (source.IsTransposed())
    ReadTransposed(weight, linear.channels, linear.k, linear.weight.span());
  for (int64_t channel = 0; channel < linear.channels; ++channel) {
    const int64_t row = linear.Row(channel);
    const int64_t stored = is_gguf ? GgufRow(spec, config, channel) : row;
    const auto values = linear.weight.span().subspan(static_cast<size_t>(row * linear.k),
                                                     static_cast<size_t>(linear.k));
    if (!source.IsTransposed()) DequantizeRange(weight, (first_row + stored) * linear.k, values);
    if (!bias.empty()) linear.bias[static_cast<size_t>(row)] = bias[static_cast<size_t>(stored)];
  }
  CheckFinite(linear.weight.span(),
              fmt::format("{}: tensor '{}.weight'", source.checkpoint().path().string(), module));
  return linear;
}

}  // namespace fptq
