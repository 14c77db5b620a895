// The tokens that calibration runs the float model over.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "base/progress.h"
#include "base/thread_pool.h"
#include "model/source.h"
#include "quant/recipe.h"
#include "text/tokenizer.h"

namespace fptq {

struct CalibrationSet {
  std::vector<std::vector<int32_t>> sequences;  // none is empty

  int64_t TokenCount() const;
  int64_t LongestSequence() const;
};

using GivenSequences = std::span<const std::vector<int32_t>>;

// `recipe.calibration_tokens`, or what they are by default: 8,192, and where X^T X is rounded with
// as many as make 4.3e13 products with the weights of the linears, from 8,192 to 32,768. X^T X of a
// down_proj with 9,000 inputs needs more rows than that, and the time allows it: 32,768 tokens for
// models of up to 1.3 G weights, 8,192 from 5.2 G on.
int64_t ChosenTokens(const QuantRecipe& recipe, const ModelConfig& config);

// About ChosenTokens tokens in sequences of `recipe.sequence_length` (or the model's context if
// that is shorter), part after part of `recipe.calibration`:
//  self    text that the model writes itself (self_text.h);
//  chat    the same, conversations by its chat template;
//  random  tokens that are uniform over the vocabulary without special tokens;
//  given   the sequences `given`, as they are, and all of them;
//  a file  the beginning of it (calibration_text.h).
// Every sequence that has room for another token begins with the tokenizer's prefix. `scratch`: a
// folder for the weights of the model that writes; empty: memory holds them. `progress` may be
// empty.
CalibrationSet MakeCalibrationSet(const QuantRecipe& recipe, const ModelSource& source,
                                  const Tokenizer& tokenizer, const std::filesystem::path& scratch,
                                  ThreadPool& pool, const Progress& progress,
                                  GivenSequences given = {});

// Adds a warning if `set` has fewer tokens than ChosenTokens, as of a short text.
void WarnOfShortage(const CalibrationSet& set, const QuantRecipe& recipe, const ModelConfig& config,
                    std::vector<std::string>& warnings);

}  // namespace fptq
