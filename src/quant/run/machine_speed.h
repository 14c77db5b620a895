// How fast this machine does what quantization is made of.
#pragma once

#include "base/thread_pool.h"

namespace fptq {

// All a second, with all threads of a pool.
struct MachineSpeed {
  double float_ops = 0;      // multiplications and additions of the float GEMM on many rows
  double gptq_ops = 0;       // of RoundGptq, all its time counted
  double group_weights = 0;  // rounded by QuantizeGroups
  static constexpr int64_t kInt8Rows = 16;
  double int8_bytes = 0;     // of weights in memory, for so many rows
  double read_weights = 0;   // that ReadLayer reads from F16, by its one thread
  double sampled = 0;        // logits that a token is drawn from
  double checked_bytes = 0;  // Checksum
};

// Takes some 0.2 s.
MachineSpeed MeasureSpeed(ThreadPool& pool);

}  // namespace fptq
