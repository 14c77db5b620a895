// What llama.cpp's metadata says of all architectures; "ARCH." stands before the names of its keys.
#pragma once

#include <string>
#include <string_view>

#include "model/arch/common.h"

namespace fptq {

// "ARCH.NAME"
std::string GgufKey(std::string_view arch, std::string_view name);

// The dimensions of the layers and the context. Heads and the width of the MLP may be given for
// each layer, but must be the same in all.
ModelConfig ReadGgufDimensions(const JsonFields& fields, std::string_view arch);

// Error unless the heads share the hidden size.
void RequireDefaultHeadDim(const JsonFields& fields, std::string_view arch,
                           const ModelConfig& config);
// Error unless keys and values have as many heads as queries, too.
void RequireEqualHeads(const JsonFields& fields, std::string_view arch, const ModelConfig& config);

// The rotary fields of `config`, whose head_dim must be set.
void ReadGgufRope(const JsonFields& fields, std::string_view arch, ModelConfig& config);
// Error unless whole heads rotate.
void RequireWholeHeadsRotate(const JsonFields& fields, std::string_view arch,
                             const ModelConfig& config);

// Of LLaMA and its relatives.
ModelConfig LlamaDimensionsFromGguf(const JsonFields& fields, std::string_view arch);
// The same where whole heads rotate.
ModelConfig LlamaConfigFromGguf(const JsonFields& fields, std::string_view arch);

}  // namespace fptq
