// The tokens of a text that models are measured on.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "model/model.h"

namespace fptq {

// The first `limit` tokens of a text (0: all), special tokens in it taken as text, none added.
std::vector<int32_t> TextTokens(const Tokenizer& tokenizer, std::string_view text,
                                int64_t limit = 0);

struct NamedModel {
  const Model& model;
  std::string_view name;  // for errors
};

// Those that both models split the text into. Error if they do not agree, or if other tokens stand
// before a text (Tokenizer::prefix).
std::vector<int32_t> CommonTokens(const NamedModel& a, const NamedModel& b, std::string_view text,
                                  int64_t limit = 0);

}  // namespace fptq
