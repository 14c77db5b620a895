// Fields that change what a model computes and that no architecture here has. A file may have them
// with a value that changes nothing; any other is an Error, as the result would be wrong silently.
#pragma once

#include <string_view>

#include "base/json.h"
#include "model/config.h"

namespace fptq {

// `config`, which is valid, was read from `object`: config.json, or the metadata of a GGUF file.
void RejectUnsupportedHfFields(const Json& object, const ModelConfig& config,
                               std::string_view where);
void RejectUnsupportedGgufKeys(const Json& object, const ModelConfig& config,
                               std::string_view where);

}  // namespace fptq
