// How a model's tokens stand for text.
#pragma once

#include <string>
#include <vector>

#include "model/source.h"
#include "model/special_tokens.h"
#include "text/tokenizer.h"

namespace fptq {

struct ModelText {
  TokenizerFiles files;
  Tokenizer tokenizer;
  SpecialTokens special_tokens;
  std::vector<std::string> warnings;  // as ModelSource::warnings(), which are among them
};

// Error if texts cannot be encoded: the tokenizer is missing or not supported, or puts a token
// before them that the embedding does not have.
ModelText LoadText(const ModelSource& source);

}  // namespace fptq
