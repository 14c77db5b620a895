// RMSNorm and LayerNorm.
#pragma once

#include <vector>

#include "kernels/dispatch.h"
#include "model/arch/arch.h"
#include "model/config.h"

namespace fptq {

struct Norm {
  std::vector<float> weight;  // [n]; empty: there is no such norm
  std::vector<float> bias;    // [n] of a LayerNorm, else empty

  bool empty() const { return weight.empty(); }
};

// By NormRole; those that an architecture has not are empty.
struct LayerNorms {
  Norm by_role[kNormRoles];

  Norm& at(NormRole role) { return by_role[static_cast<int>(role)]; }
  const Norm& at(NormRole role) const { return by_role[static_cast<int>(role)]; }
};

// out = norm(x), both [n]; they may be the same.
inline void ApplyNorm(const Norm& norm, const ModelConfig& config, const float* x, float* out) {
  const auto n = static_cast<int64_t>(norm.weight.size());
  const auto epsilon = static_cast<float>(config.norm_epsilon);
  switch (config.norm) {
    case NormKind::kRms:
      Kernels().rms_norm(
          {.x = x, .weight = norm.weight.data(), .n = n, .epsilon = epsilon, .out = out});
      break;
    case NormKind::kLayer:
      Kernels().layer_norm({.x = x,
                            .weight = norm.weight.data(),
                            .bias = norm.bias.data(),
                            .n = n,
                            .epsilon = epsilon,
                            .out = out});
      break;
  }
}

}  // namespace fptq
