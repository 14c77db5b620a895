// What a quantization keeps on disk layer by layer, so that one that was interrupted can go on.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <vector>

#include "base/progress.h"
#include "base/thread_pool.h"
#include "files/journal.h"
#include "io/tensor_spool.h"
#include "model/source.h"
#include "quant/calibrate/calibration_set.h"
#include "quant/calibrate/hidden_states.h"
#include "quant/recipe.h"
#include "quant/run/layer_record.h"

namespace fptq {

// All that determines the output: the build of fptq, the recipe, and checksums of the source's
// config, tensors and tokenizer and of the calibration text. Reads the whole source (CheckWeights).
// That costs 1 % of what quantizing it does, and neither names nor times of files tell what is in
// them. `progress` may be empty.
Json FingerprintOf(const ModelSource& source, const QuantRecipe& recipe, GivenSequences given,
                   ThreadPool& pool, const Progress& progress);

class RunState {
 public:
  static bool Exists(const std::filesystem::path& folder);
  // Whether the name is one that it gives to a file.
  static bool IsFile(std::string_view name);

  // What an earlier run left in `folder`, up to what is torn or damaged, or nothing if there was
  // none or `restart`. Error that says what differs if that run had another fingerprint.
  RunState(const std::filesystem::path& folder, const ModelConfig& config, Json fingerprint,
           bool restart);

  const std::optional<CalibrationSet>& calibration() const { return calibration_; }
  void SetCalibration(CalibrationSet set);

  // The tensors of the finished layers, then those of the layer in work.
  TensorSpool& spool() { return spool_; }
  const std::vector<LayerResult>& layers() const { return layers_; }
  // The layer in work is finished: its tensors are in the spool, and `hidden` is what comes out of
  // it. When this returns, it is durable.
  void FinishLayer(LayerResult result, const HiddenStates& hidden);
  // Sets `hidden` to what comes out of the last finished layer; false if that was lost.
  bool LoadHidden(HiddenStates& hidden) const;

 private:
  std::filesystem::path HiddenPath(size_t layers) const;
  void RestoreCalibration(const ModelConfig& config);
  void RestoreLayers(const ModelConfig& config);
  void RemoveOtherHidden() const;

  std::filesystem::path folder_;
  Journal journal_;  // the fingerprint, the calibration set, then the layers
  TensorSpool spool_;
  std::optional<CalibrationSet> calibration_;
  std::vector<LayerResult> layers_;
  size_t finished_tensors_ = 0;   // of `spool_`: those of the finished layers
  uint32_t hidden_checksum_ = 0;  // of what comes out of the last finished layer
};

}  // namespace fptq
