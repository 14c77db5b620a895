// The tokens that calibration runs the float model over.
#pragma once

#include <cstdint>
#include <vector>

#include "model/config.h"
#include "quant/recipe.h"
#include "text/tokenizer.h"

namespace fptq {

struct CalibrationSet {
  std::vector<std::vector<int32_t>> sequences;  // none is empty

  int64_t TokenCount() const;
  int64_t LongestSequence() const;
};

// `recipe.calibration_tokens` tokens in sequences of `recipe.sequence_length` (or the model's
// context if that is shorter): random ones, uniform over the vocabulary without special tokens, the
// same on every platform; or the beginning of a text. If the tokenizer begins texts with a BOS
// token, so does every sequence.
CalibrationSet MakeCalibrationSet(const QuantRecipe& recipe, const ModelConfig& config,
                                  const Tokenizer& tokenizer);

}  // namespace fptq
