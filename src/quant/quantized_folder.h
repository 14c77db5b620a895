// The files of a quantized model.
#pragma once

#include <filesystem>
#include <string_view>

#include "model/model_text.h"
#include "model/source.h"
#include "quant/recipe.h"
#include "quant/report.h"
#include "quant/tensor_spool.h"

namespace fptq {

// Whether WriteQuantizedFolder may write a file of this name.
bool IsQuantizedFolderFile(std::string_view name);

// Writes all files to `folder`: `layers` and the tensors of the source that stay float, config,
// tokenizer and report. Sets `report.output_bytes`.
void WriteQuantizedFolder(const ModelSource& source, const ModelText& text,
                          const QuantRecipe& recipe, const TensorSpool& layers,
                          const std::filesystem::path& folder, QuantizeReport& report);

}  // namespace fptq
