// The rows of a batch, and the instruments of a forward pass.
#pragma once

#include <algorithm>
#include <cstdint>

#include "model/transformer.h"

namespace fptq {

// Calls body(chunk, index of the row in its chunk, row of the batch) for the batch's rows [begin,
// end).
template <typename Body>
void ForEachRow(const ForwardBatch& batch, int64_t begin, int64_t end, Body body) {
  int64_t first = 0;  // the chunk's first row
  for (const BatchChunk& chunk : batch.chunks) {
    const int64_t count = std::ssize(chunk.tokens);
    for (int64_t row = std::max(begin, first); row < std::min(end, first + count); ++row) {
      body(chunk, row - first, row);
    }
    first += count;
  }
}

// The time since the last call belongs to `part`.
inline void Stamp(Activations& act, ForwardPart part) {
  if (act.profile != nullptr) act.profile->Stamp(part);
}

// What enters the next linears is counted as the site's.
inline void EnterSite(Activations& act, const ModelConfig& config, int64_t layer,
                      const SiteId& site) {
  act.input.saturation =
      act.saturation == nullptr ? nullptr : &act.saturation->at(config, layer, site);
}

// Shows the observer what was set as the linear's input, if that is float.
inline void ObserveInput(ActivationObserver* observer, const Linear& linear, int64_t layer,
                         const SiteId& site, int64_t rows, const Activations& act) {
  if (observer == nullptr || linear.TakesInt8()) return;
  observer->Observe(layer, site, act.input.floats(rows, linear.k()), rows);
}

}  // namespace fptq
