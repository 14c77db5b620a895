// Generation as the terminal shows it.
#pragma once

#include <cstdint>
#include <span>

#include "engine/engine.h"

namespace fptq {

// Streams the answer to standard output, ends it with a newline and says on standard error why it
// stopped early. Ctrl-C stops it; a second one ends the program. `options.cancel` is not used.
Generation GenerateToOutput(Engine& engine, std::span<const int32_t> prompt,
                            GenerateOptions options);

// A line on standard error.
void NoteTimings(const Timings& timings);

}  // namespace fptq
