// A model run layer by layer over the calibration set, so that one layer is in memory at a time.
#pragma once

#include <span>
#include <vector>

#include "base/tensor.h"
#include "base/thread_pool.h"
#include "files/arena.h"
#include "model/kv_cache.h"
#include "model/source.h"
#include "model/transformer.h"
#include "quant/calibrate/calibration_set.h"

namespace fptq {

// The hidden states of all sequences between two layers. Several may exist side by side: those of
// the float model, and those of the model quantized so far.
class HiddenStates {
 public:
  // Before the first layer. `source` and `set` must outlive this. The states lie in `memory`.
  HiddenStates(const ModelSource& source, const CalibrationSet& set, Arena memory,
               ThreadPool& pool);

  // Runs the layer over all sequences, one after the other; `observer` may be null.
  void Advance(const LayerWeights& weights, int64_t layer, ActivationObserver* observer);

  // A mixture in parts, so that one of its MLPs is in memory at a time: all but the MLPs, of which
  // `weights` needs none; its MLPs in their order; what they give is added.
  void AdvanceAttention(const LayerWeights& weights, int64_t layer, ActivationObserver* observer);
  int64_t RowsOf(MlpId mlp) const;  // that the MLP takes, of all sequences
  void AdvanceMlp(const MlpWeights& weights, int64_t layer, MlpId mlp,
                  ActivationObserver* observer);
  void FinishMixture(const Norm& norm);  // NormRole::kMlpOut

  int64_t TokenCount() const { return set_.TokenCount(); }  // of all sequences
  // By sequence: [tokens, hidden].
  std::vector<std::span<float>> states();
  std::vector<std::span<const float>> states() const;

 private:
  const ModelConfig& config_;
  const CalibrationSet& set_;
  ThreadPool& pool_;
  Activations activations_;
  KvCache cache_;               // of one layer
  std::vector<int32_t> pages_;  // all of them
  Arena memory_;
  std::vector<AlignedBuffer<float>> hidden_;  // by sequence: [tokens, hidden]
  // Of the mixture at work, of all sequences, [tokens, hidden]: what its MLPs take, and the sum of
  // what they give; which rows each takes.
  AlignedBuffer<float> mlp_inputs_, mlp_outputs_;
  std::vector<std::vector<RoutedRow>> routed_;
};

}  // namespace fptq
