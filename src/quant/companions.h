// The files of a Hugging Face folder that are the same whatever the weights are.
#pragma once

#include <filesystem>
#include <string_view>
#include <vector>

#include "model/source.h"

namespace fptq {

// Whether WriteCompanions may write a file of this name.
bool IsCompanion(std::string_view name);
// The files of the source that WriteCompanions copies; none of a GGUF file.
std::vector<std::filesystem::path> CompanionFiles(const ModelSource& source);

// Tokenizer, chat template and generation config: copied from a folder, made from the metadata of a
// GGUF file.
void WriteCompanions(const ModelSource& source, const TokenizerFiles& tokenizer,
                     const std::filesystem::path& folder);

}  // namespace fptq
