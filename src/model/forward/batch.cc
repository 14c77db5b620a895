#include <algorithm>

#include "base/error.h"
#include "model/forward/steps.h"

namespace fptq {

std::span<const int32_t> BatchChunk::Pages(int64_t begin) const {
  const int64_t first = begin / kKvBlock, end = PagesFor(first_position + std::ssize(tokens));
  return pages.subspan(static_cast<size_t>(first), static_cast<size_t>(end - first));
}

int64_t ForwardBatch::rows() const {
  int64_t rows = 0;
  for (const BatchChunk& chunk : chunks) rows += std::ssize(chunk.tokens);
  return rows;
}

int64_t ForwardBatch::logits_rows() const {
  int64_t rows = 0;
  for (const BatchChunk& chunk : chunks) rows += chunk.logits;
  return rows;
}

// What whoever makes a batch promises: whoever breaks it would write beyond a buffer, or two
// threads the same positions.
void ValidateBatch(int64_t window, const ForwardBatch& batch, const KvCache& cache,
                   const Activations& act) {
  FPTQ_CHECK(batch.rows() <= act.max_rows);
  for (auto chunk = batch.chunks.begin(); chunk != batch.chunks.end(); ++chunk) {
    const int64_t rows = std::ssize(chunk->tokens);
    FPTQ_CHECK(rows > 0);
    FPTQ_CHECK(chunk->logits >= 0 && chunk->logits <= rows);
    const int64_t room = std::ssize(chunk->pages) * kKvBlock;
    FPTQ_CHECK(chunk->first_position >= 0 && chunk->first_position <= room - rows);
    const int64_t first_read =
        window > 0 ? std::max<int64_t>(0, chunk->first_position + 1 - window) : 0;
    bool pages_exist = true;
    for (const int32_t page : chunk->Pages(first_read)) {
      pages_exist &= page >= 0 && page < cache.pages();
    }
    FPTQ_CHECK(pages_exist);
    const auto written = chunk->Pages(chunk->first_position);
    FPTQ_CHECK(std::none_of(batch.chunks.begin(), chunk, [&](const BatchChunk& other) {
      const auto others = other.Pages(other.first_position);
      return std::ranges::find_first_of(others, written) != others.end();
    }));
  }
}

}  // namespace fptq
