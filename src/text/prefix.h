// What stands before every text, e.g. BOS.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "base/thread_pool.h"
#include "text/tokenizer.h"

namespace fptq {

// The ids that the "post_processor" of tokenizer.json puts before a text. What it puts behind one
// is nothing that a model goes on from, and left out. Where tokenizer_config.json names a class of
// transformers that goes by its own `add_bos_token`, that counts instead. `id_of` finds a token by
// its content. Error naming whatever is asked for that is not implemented, or is no token.
std::vector<int32_t> ParsePrefix(const TokenizerFiles& files,
                                 FunctionRef<std::optional<int32_t>(std::string_view)> id_of);

}  // namespace fptq
