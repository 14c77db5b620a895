// How fast a model runs here, and how fast it could.
#pragma once

#include <cstdint>
#include <string>

#include "base/thread_pool.h"
#include "model/model.h"

namespace fptq {

// What this machine does at best with the threads of a pool, measured.
struct MachinePeaks {
  double int8_ops = 0;    // a second: multiplications and additions in registers, by Kernels()
  double read_bytes = 0;  // a second, from memory
};

// Takes about half a second.
MachinePeaks MeasurePeaks(ThreadPool& pool);

enum class BenchmarkPhase { kPrefill, kDecode };

struct BenchmarkCase {
  BenchmarkPhase phase = BenchmarkPhase::kPrefill;
  int64_t tokens = 512;   // of each sequence, timed; at least 1
  int64_t depth = 0;      // tokens of each sequence in the KV cache before that, not timed
  int64_t sequences = 1;  // that run together

  std::string Name() const;  // "pp512", "tg128 @ d4096", "tg128 x16"
};

struct BenchmarkResult {
  // Tokens a second of all sequences together, over the repetitions.
  double mean = 0;
  double standard_deviation = 0;
  // Of one repetition. Bytes are those of weights, scales, keys and values that a step has to read
  // at least once, summed over the steps; operations are those of linears and attention.
  double seconds = 0;  // mean
  double bytes = 0;
  double operations = 0;
  int64_t steps = 0;
  int64_t kv_bytes = 0;  // held by the KV cache
};

struct BenchmarkProfile {
  Profile parts;
  // Of a token for each sequence that decodes, at temperature 1 from the whole vocabulary. Only a
  // profile has it: no other time includes it.
  double sampling_seconds = 0;
  double waiting_seconds = 0;  // in the others too: the calling thread at the end of loops
  int64_t steps = 0;
};

// Random tokens. One repetition goes before to warm up. Error if the tokens do not fit in the
// model's positions. `profile`: null, or what the steps of all repetitions are added to.
BenchmarkResult RunBenchmark(const Model& model, const BenchmarkCase& test, int64_t repetitions,
                             ThreadPool& pool, BenchmarkProfile* profile = nullptr);

}  // namespace fptq
