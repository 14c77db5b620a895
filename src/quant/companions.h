// The files of a Hugging Face folder that are the same whatever the weights are.
#pragma once

#include <filesystem>
#include <vector>

#include "model/source.h"

namespace fptq {

// The files of the source that WriteCompanions copies; none of a GGUF file.
std::vector<std::filesystem::path> CompanionFiles(const ModelSource& source);

// Tokenizer, chat template and generation config: copied from a folder, made from the metadata of a
// GGUF file.
void WriteCompanions(const ModelSource& source, const TokenizerFiles& tokenizer,
                     const std::filesystem::path& folder);

}  // namespace fptq
