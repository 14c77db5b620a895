// The files of a Hugging Face folder that are the same whatever the weights are.
#pragma once

#include <filesystem>
#include <string_view>
#include <vector>

#include "model/model_text.h"
#include "model/source.h"

namespace fptq {

// Whether WriteCompanions may write a file of this name.
bool IsCompanion(std::string_view name);
// The files of the source that WriteCompanions copies; none of a GGUF file.
std::vector<std::filesystem::path> CompanionFiles(const ModelSource& source);

// Tokenizer, chat template and generation config: copied from a folder, made from the metadata of a
// GGUF file. A generation config gets all special tokens that the model has.
void WriteCompanions(const ModelSource& source, const ModelText& text,
                     const std::filesystem::path& folder);

}  // namespace fptq
