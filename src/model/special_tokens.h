// The tokens that begin and end texts.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/json.h"
#include "io/checkpoint.h"
#include "text/tokenizer.h"

namespace fptq {

// What all files of a model say together: config.json, generation_config.json, the tokenizer's
// files, or the metadata of a GGUF file.
struct SpecialTokens {
  int32_t bos = -1;          // -1: none
  std::vector<int32_t> eos;  // each of them ends a text, for whatever reason
  int32_t start = -1;        // what a text that has no beginning goes on from: BOS or EOS; -1: none
  // Names the tokens that the tokenizer or the embedding does not have, which are left out; empty
  // if there is none.
  std::string warning;
};

// Error if an id is no integer, naming the field.
SpecialTokens FindSpecialTokens(const Checkpoint& checkpoint, const TokenizerFiles& files,
                                const Tokenizer& tokenizer);

// Puts them into a config.json or generation_config.json; a field that has nothing to say becomes
// null if it is there.
void WriteSpecialTokens(const SpecialTokens& special, Json& config);

}  // namespace fptq
