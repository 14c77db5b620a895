// The steps of a layer, in the order in which ForwardLayer takes them.
#pragma once

#include "model/transformer.h"

namespace fptq {

// FPTQ_CHECK of what whoever makes a batch promises: whoever breaks it would write beyond a buffer,
// or two threads the same positions.
void ValidateBatch(int64_t window, const ForwardBatch& batch, const KvCache& cache,
                   const Activations& act);

// input = norm(x), or x where there is no norm, for all rows of x, [rows, hidden].
void NormInput(const ModelConfig& config, const Norm& norm, const float* x, const Linear& linear,
               int64_t rows, ThreadPool& pool, Activations& act);

// The norms of q and k, RoPE, and the batch's keys and values into layer `cache_layer` of the
// cache. `layer` is that of the model.
void RotateAndAppend(const ModelConfig& config, const LayerWeights& weights, int64_t layer,
                     const ForwardBatch& batch, KvCache& cache, int64_t cache_layer,
                     ThreadPool& pool, Activations& act);

// attention = softmax(q k^T) v. Shared sections remain to be merged: AttentionOutput.
void Attention(const ModelConfig& config, const AlignedBuffer<float>& key_offsets, int64_t window,
               const ForwardBatch& batch, KvCache& cache, int64_t cache_layer, ThreadPool& pool,
               Activations& act);

// input = the output of attention
void AttentionOutput(const ModelConfig& config, const ForwardBatch& batch, const Linear& o,
                     ThreadPool& pool, Activations& act);

// input = f(gate) * up, or f(up), of the MLP that `down` is of.
void MlpInput(const ModelConfig& config, const Linear& down, int64_t rows, ThreadPool& pool,
              Activations& act);

// hidden += residual_scale * norm(linear(input)), or without a norm.
void AddBranch(const ModelConfig& config, const Linear& linear, const Norm& norm, int64_t rows,
               ThreadPool& pool, Activations& act);

// The MLPs of a mixture: hidden += residual_scale * norm(sum of what they give), or without a norm.
void ForwardMixture(const ModelConfig& config, const LayerWeights& weights, int64_t layer,
                    int64_t rows, ThreadPool& pool, Activations& act, ActivationObserver* observer);

}  // namespace fptq
