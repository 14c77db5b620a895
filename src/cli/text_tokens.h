// The text that a command measures a model on.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "text/tokenizer.h"

namespace fptq {

// The first `limit` tokens of a file (0: all), special tokens in it taken as text, none added.
std::vector<int32_t> ReadTokens(const Tokenizer& tokenizer, const std::string& path,
                                int64_t limit = 0);

}  // namespace fptq
