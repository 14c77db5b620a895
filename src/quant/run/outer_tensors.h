// How a quantized folder stores what lies outside the layers: the embedding, norms and lm_head.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "io/compressed_tensors.h"
#include "io/safetensors.h"
#include "io/sharded_writer.h"
#include "model/source.h"
#include "quant/recipe.h"

namespace fptq {

// Of one of source.OuterTensors(): integers of 8 bits with a scale a row (int-quantized), or
// nothing: floats. lm_head's inputs are labelled as int8, too, as vLLM has no scheme for float
// ones.
std::optional<LinearQuantization> OuterQuantization(const ModelSource& source,
                                                    const QuantRecipe& recipe,
                                                    const UsedTensor& tensor);

// The name of its module: without ".weight".
std::string ModuleOf(const UsedTensor& tensor);

// What it becomes, in the order of WriteOuterTensor.
std::vector<SafetensorsWriter::Tensor> StoredAs(const UsedTensor& tensor,
                                                const std::optional<LinearQuantization>& how,
                                                DataType dtype);

// Some rows at a time. Error naming the tensor if `dtype` cannot hold a value.
void WriteOuterTensor(const UsedTensor& tensor, const std::optional<LinearQuantization>& how,
                      DataType dtype, ThreadPool& pool, ShardedWriter& writer);

}  // namespace fptq
