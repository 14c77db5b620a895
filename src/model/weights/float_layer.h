// The linears and norms of a float source's layers, read into memory.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/tensor.h"
#include "model/source.h"

namespace fptq {

// A float linear as it stands in the source: out[n] = sum_k weight[n][k] x[k] + bias[n].
struct SourceLinear {
  std::string name;      // Hugging Face's module name, "model.layers.0.self_attn.q_proj"
  int64_t channels = 0;  // N
  int64_t k = 0;
  AlignedBuffer<float> weight;       // [N, K]
  std::vector<float> bias;           // [N] or empty
  const LinearSpec* spec = nullptr;  // which of a layer's linears it is
  // Rows are in Hugging Face's order, in which they are written again.
  QkvGroups groups = {};

  // The row of our output channel `channel`.
  int64_t Row(int64_t channel) const { return groups.Row(channels, channel); }
};

// One layer in float, or a part of one: what quantization reads, changes and drops again.
struct SourceLayer {
  LayerNorms norms;
  std::vector<SiteId> sites;
  std::vector<std::vector<SourceLinear>> linears;  // by site
  std::vector<SourceLinear> float_linears;         // of a mixture: the router and its like

  // The norm before kAttnIn or kMlpIn.
  Norm& norm(ActSite site);
  const Norm& norm(ActSite site) const;
};

// Errors if a weight is NaN or infinite, naming the tensor.
SourceLayer ReadLayer(const ModelSource& source, int64_t layer);
// Of a mixture: all but its MLPs; and one of these, with the sites kMlpIn and kMlpMid.
SourceLayer ReadAttention(const ModelSource& source, int64_t layer);
SourceLayer ReadMlp(const ModelSource& source, int64_t layer, MlpId mlp);
SourceLinear ReadLinear(const ModelSource& source, const LayerLinear& linear);
// LinearsOf
std::vector<SourceLinear> ReadLinears(const ModelSource& source, int64_t layer, ActSite role,
                                      MlpId mlp = {});
// FloatLinearsOf, of which those of a quantized folder are float, too.
std::vector<SourceLinear> ReadFloatLinears(const ModelSource& source, int64_t layer);

}  // namespace fptq
