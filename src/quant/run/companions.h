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

// Tokenizer, chat template, generation config and what feeds other inputs to a model: copied from a
// folder, made from the metadata of a GGUF file. A generation config gets all special tokens that
// the model has. Nothing names code of the source, which is not copied, so that no reader looks for
// it: a tokenizer of such a class becomes the one of tokenizer.json that this library reads, and
// what needs code to be of use is left out.
void WriteCompanions(const ModelSource& source, const ModelText& text,
                     const std::filesystem::path& folder);

}  // namespace fptq
