#include <algorithm>

#include "base/error.h"
#include "kernels/dispatch.h"
#include "model/forward/rows.h"
#include "model/forward/steps.h"

namespace fptq {

// The float rows of a thread share one row of `normed`.
void NormInput(const ModelConfig& config, const Norm& norm, const float* x, const Linear& linear,
               int64_t rows, ThreadPool& pool, Activations& act) {
  pool.ParallelFor(rows, [&](int64_t begin, int64_t end) {
    float* normed = act.normed.data() + begin * config.hidden;
    for (int64_t row = begin; row < end; ++row) {
      const float* from = x + row * config.hidden;
      if (!norm.empty()) {
        ApplyNorm(norm, config, from, normed);
        from = normed;
      }
      act.input.Set(linear, row, from);
    }
  });
}

void AddBranch(const ModelConfig& config, const Linear& linear, const Norm& norm, int64_t rows,
               ThreadPool& pool, Activations& act) {
  if (norm.empty() && config.residual_scale == 1) {
    return Apply(linear, act.input, rows, pool, act.hidden.data(), /*accumulate=*/true);
  }
  Apply(linear, act.input, rows, pool, act.branch.data(), /*accumulate=*/false);
  AddBranch(config, norm, rows, pool, act);
}

void AddBranch(const ModelConfig& config, const Norm& norm, int64_t rows, ThreadPool& pool,
               Activations& act) {
  const auto scale = static_cast<float>(config.residual_scale);
  pool.ParallelFor(rows, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      float* branch = act.branch.data() + row * config.hidden;
      float* hidden = act.hidden.data() + row * config.hidden;
      if (!norm.empty()) ApplyNorm(norm, config, branch, branch);
      for (int64_t i = 0; i < config.hidden; ++i) hidden[i] += branch[i] * scale;
    }
  });
}

void ForwardAttention(const ModelConfig& config, const LayerWeights& weights, int64_t layer,
                      const ForwardBatch& batch, KvCache& cache, int64_t cache_layer,
                      ThreadPool& pool, Activations& act, ActivationObserver* observer) {
  const int64_t window = config.window(layer);
  ValidateBatch(window, batch, cache, act);
  const int64_t rows = batch.rows();

  EnterSite(act, config, layer, ActSite::kAttnIn);
  NormInput(config, weights.norms.at(NormRole::kAttn), act.hidden.data(), weights.qkv, rows, pool,
            act);
  Stamp(act, ForwardPart::kNormQuantize);
  ObserveInput(observer, weights.qkv, layer, ActSite::kAttnIn, rows, act);
  Apply(weights.qkv, act.input, rows, pool, act.qkv.data(), /*accumulate=*/false);
  Stamp(act, ForwardPart::kQkv);
  RotateAndAppend(config, weights, layer, batch, cache, cache_layer, pool, act);
  Stamp(act, ForwardPart::kRopeAppend);
  Attention(config, weights.key_offsets, window, batch, cache, cache_layer, pool, act);
  Stamp(act, ForwardPart::kAttention);

  EnterSite(act, config, layer, ActSite::kAttnOut);
  AttentionOutput(config, batch, weights.o, pool, act);
  Stamp(act, ForwardPart::kNormQuantize);
  ObserveInput(observer, weights.o, layer, ActSite::kAttnOut, rows, act);
  AddBranch(config, weights.o, weights.norms.at(NormRole::kAttnOut), rows, pool, act);
  Stamp(act, ForwardPart::kAttnOut);
}

void ForwardLayer(const ModelConfig& config, const LayerWeights& weights, int64_t layer,
                  const ForwardBatch& batch, KvCache& cache, int64_t cache_layer, ThreadPool& pool,
                  Activations& act, ActivationObserver* observer) {
  const int64_t rows = batch.rows();
  // What the MLP's norm reads: the residual stream after attention, or before it.
  const float* mlp_from = act.hidden.data();
  if (config.parallel_residual && !config.shared_norm) {
    FPTQ_CHECK(rows <= act.max_rows);
    std::copy_n(act.hidden.data(), rows * config.hidden, act.layer_input.data());
    mlp_from = act.layer_input.data();
  }
  ForwardAttention(config, weights, layer, batch, cache, cache_layer, pool, act, observer);
  if (config.is_mixture(layer)) {
    return ForwardMixture(config, weights, layer, rows, pool, act, observer);
  }

  if (!config.shared_norm) {
    const Linear& gate_up = weights.at(ActSite::kMlpIn);
    EnterSite(act, config, layer, ActSite::kMlpIn);
    NormInput(config, weights.norms.at(NormRole::kMlp), mlp_from, gate_up, rows, pool, act);
    Stamp(act, ForwardPart::kNormQuantize);
    ObserveInput(observer, gate_up, layer, ActSite::kMlpIn, rows, act);
    Apply(gate_up, act.input, rows, pool, act.gate_up.data(), /*accumulate=*/false);
    Stamp(act, ForwardPart::kGateUp);
  }

  const Linear& down = weights.at(ActSite::kMlpMid);
  EnterSite(act, config, layer, ActSite::kMlpMid);
  MlpInput(config, down, rows, pool, act);
  Stamp(act, ForwardPart::kSiluQuantize);
  ObserveInput(observer, down, layer, ActSite::kMlpMid, rows, act);
  AddBranch(config, down, weights.norms.at(NormRole::kMlpOut), rows, pool, act);
  Stamp(act, ForwardPart::kDown);
}

}  // namespace fptq
