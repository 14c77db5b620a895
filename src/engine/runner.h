// A model with the memory that its forward pass needs.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/thread_pool.h"
#include "model/model.h"

namespace fptq {

struct RunnerOptions {
  std::optional<KvType> kv_type = {};  // the model's own by default
  int64_t layers = 0;                  // of the KV cache; 0: all
  int64_t slots = 1;                   // sequences that have a block table of their own
  int64_t positions = 0;               // of a slot
  int64_t rows = 1;                    // of a step
  int64_t logits_rows = 1;
  int64_t sections = 0;  // of the KV cache, that threads may share in a step (Activations)
};

// Runs steps over a KV cache. Whoever calls it says which pages a sequence has: those of a slot, or
// what a PagePool of pages() has handed out.
class Runner {
 public:
  Runner(const Model& model, const RunnerOptions& options, ThreadPool& pool);

  const Model& model() const { return model_; }
  ThreadPool& pool() const { return pool_; }
  KvCache& cache() { return cache_; }
  int64_t pages() const { return cache_.pages(); }
  Activations& activations() { return activations_; }
  const Activations& activations() const { return activations_; }
  // The block table of a slot; valid as long as the runner.
  std::span<const int32_t> Table(int64_t slot) const;

  // Returns the logits of the rows that want them, [logits rows, vocab], valid until the next call.
  std::span<float> Run(const ForwardBatch& batch);
  // A row of them.
  std::span<float> Logits(int64_t row);

 private:
  const Model& model_;
  ThreadPool& pool_;
  int64_t slot_pages_;
  KvCache cache_;
  std::vector<int32_t> pages_;  // all of the cache, slot by slot
  Activations activations_;
};

}  // namespace fptq
