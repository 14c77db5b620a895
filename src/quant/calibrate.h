// Calibration: the float model run over some tokens, layer by layer.
#pragma once

#include <cstdint>
#include <vector>

#include "base/progress.h"
#include "base/thread_pool.h"
#include "model/source.h"
#include "quant/observer.h"
#include "quant/recipe.h"
#include "text/tokenizer.h"

namespace fptq {

struct CalibrationSet {
  std::vector<std::vector<int32_t>> sequences;  // none is empty

  int64_t LongestSequence() const;
};

// `recipe.calibration_tokens` tokens in sequences of `recipe.sequence_length` (or the model's
// context if that is shorter): random ones, uniform over the vocabulary without special tokens, the
// same on every platform; or the beginning of a text. If the tokenizer begins texts with a BOS
// token, so does every sequence.
CalibrationSet MakeCalibrationSet(const QuantRecipe& recipe, const ModelConfig& config,
                                  const Tokenizer& tokenizer);

// Runs the float model over all sequences, one layer at a time, so that only one is float-resident.
// The statistics of each layer.
std::vector<LayerStats> Calibrate(const ModelSource& source, const CalibrationSet& set,
                                  ThreadPool& pool, const Progress& progress);

}  // namespace fptq
