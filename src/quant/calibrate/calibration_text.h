// Text files to calibrate with.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/source.h"
#include "text/tokenizer.h"

namespace fptq {

// The first `count` tokens of the file, or all if it has fewer: of its text or, if its name ends in
// .jsonl, of the conversations that are its lines, {"messages": [...]}, as the model's chat
// template writes them. Error if there is none, or a line is no conversation.
std::vector<int32_t> ReadCalibrationText(const std::string& path, int64_t count,
                                         const ModelSource& source, const Tokenizer& tokenizer);

}  // namespace fptq
