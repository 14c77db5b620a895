// Which rows of which sequences a step computes.
#pragma once

#include <cstdint>

namespace fptq {

struct SchedulerOptions {
  int64_t context = 4096;      // the most tokens of a sequence, prompt and answer together
  int64_t max_sequences = 64;  // that run together; the others wait
  // Memory for keys and values; 0: what max_sequences of the full context need, but at most a half
  // of AvailableMemory().
  int64_t kv_bytes = 0;
  int64_t batch_rows = 512;  // the most tokens of prompts that a step computes
  bool prefix_cache = true;
};

}  // namespace fptq
