// Linears of a model's files in the layouts of the kernels.
#pragma once

#include <span>

#include "base/thread_pool.h"
#include "files/arena.h"
#include "model/source.h"
#include "model/weights/float_layer.h"
#include "model/weights/linear.h"

namespace fptq {

// How linears run whose activations the model does not quantize. Integer weights stay integers in
// memory where there is a kernel for them.
enum class FloatForm {
  kFloat32,
  // Activations with a scale for each token and group of weights. Float weights get a scale for
  // each output channel: a quarter of the memory, no calibration, not much worse.
  kInt8,
};

// Linears with the same input, one below the other: in float; in int8 with a scale for each output
// channel, where it can be; and those of a quantized folder, neighbours that are alike as one
// matrix, which most often is all of them.
Linear FloatLinear(std::span<const SourceLinear> linears, ThreadPool& pool);
Linear Int8Linear(std::span<const SourceLinear> linears, Arena& memory, ThreadPool& pool);
Linear QuantizedLinears(const ModelSource& source, std::span<const LayerLinear> linears,
                        FloatForm form, Arena& memory, ThreadPool& pool);

// lm_head: int8 with a dynamic scale per token beside integer layers, float beside float ones, or
// as the folder has it. The int8 one takes rotated inputs, as the final norm leaves outlying
// channels; so does one of a folder that says the same of it.
Linear HeadLinear(const ModelSource& source, FloatForm form, Arena& memory, ThreadPool& pool);

}  // namespace fptq
