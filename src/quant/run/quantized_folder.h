// The files of a quantized model.
#pragma once

#include <filesystem>
#include <string_view>

#include "base/thread_pool.h"
#include "io/tensor_spool.h"
#include "model/model_text.h"
#include "model/source.h"
#include "quant/recipe.h"
#include "quant/run/report.h"

namespace fptq {

// Whether WriteQuantizedFolder may write a file of this name.
bool IsQuantizedFolderFile(std::string_view name);

// Writes all files to `folder`: `layers` and what is outside of them, config, tokenizer and report.
// Sets `report.output_bytes`.
void WriteQuantizedFolder(const ModelSource& source, const ModelText& text,
                          const QuantRecipe& recipe, const TensorSpool& layers,
                          const std::filesystem::path& folder, ThreadPool& pool,
                          QuantizeReport& report);

}  // namespace fptq
