// The pre-tokenizers that GGUF files name by `tokenizer.ggml.pre`.
#pragma once

#include <string_view>

#include "base/json.h"

namespace fptq {

// A family of byte-level BPE models that are cut into words alike.
struct GgufPreTokenizer {
  std::string_view names;   // with a space between two
  Json (*pre_tokenizer)();  // as tokenizer.json has it
  bool nfc = false;
  bool ignore_merges = false;
  bool add_bos = false;  // unless the metadata says otherwise
};

// Error naming `where` and all that are known if `name` is none of them.
const GgufPreTokenizer& FindGgufPreTokenizer(std::string_view name, std::string_view where);

}  // namespace fptq
