// What a model makes of whole texts, as vectors.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/progress.h"
#include "base/thread_pool.h"
#include "model/model.h"

namespace fptq {

// Which hidden states, after the last norm, are the vector of a sequence.
enum class EmbeddingOf { kMean, kLastToken };

// [sequences][hidden]. Short sequences run together; a vector does not depend on the others. Error
// if a sequence is empty, longer than the model's positions or has a token beyond its vocabulary.
std::vector<std::vector<float>> EmbedSequences(const Model& model,
                                               std::span<const std::vector<int32_t>> sequences,
                                               EmbeddingOf which, ThreadPool& pool,
                                               const Progress& progress);

}  // namespace fptq
