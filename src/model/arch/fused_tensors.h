// What architectures with one linear for q, k and v and an MLP without gate have in common.
#pragma once

#include <array>

#include "model/arch/common.h"

namespace fptq::fused_tensors {

struct Names {
  TensorNames attn_norm, mlp_norm;
  TensorNames qkv, output, up, down;
};

constexpr std::array<NormSpec, 2> Norms(const Names& names) {
  return {{
      {NormRole::kAttn, names.attn_norm, HiddenChannels},
      {NormRole::kMlp, names.mlp_norm, HiddenChannels},
  }};
}

// `qkv`: how the rows of that one are stored; then which linears have biases. `up_site`: where the
// MLP's input enters, kAttnIn if it shares the norm of attention.
constexpr std::array<LinearSpec, 4> Linears(const Names& names, RowOrder qkv, Bias attention,
                                            Bias mlp, ActSite up_site = ActSite::kMlpIn) {
  return {{
      {ActSite::kAttnIn, names.qkv, qkv, QkvChannels, attention},
      {ActSite::kAttnOut, names.output, RowOrder::kAsIs, HiddenChannels, attention},
      {up_site, names.up, RowOrder::kAsIs, MlpChannels, mlp},
      {ActSite::kMlpMid, names.down, RowOrder::kAsIs, HiddenChannels, mlp},
  }};
}

constexpr std::array<EqualizationGroup, 3> Groups(const Names& names) {
  return {{
      {ActSite::kAttnIn, Producer::kNorm, names.attn_norm},
      {ActSite::kMlpIn, Producer::kNorm, names.mlp_norm},
      {ActSite::kAttnOut, Producer::kLinear, names.qkv, FirstOfV},
  }};
}

}  // namespace fptq::fused_tensors
