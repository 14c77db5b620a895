#include <algorithm>

#include "base/error.h"
#include "kernels/dispatch.h"
#include "model/forward/rows.h"

namespace fptq {
namespace {

constexpr int64_t kLogitsTogether = 1024;

// logits = softcap(logit_scale * logits)
void ScaleLogits(const ModelConfig& config, int64_t rows, ThreadPool& pool, Activations& act) {
  const auto scale = static_cast<float>(config.logit_scale);
  const auto cap = static_cast<float>(config.logit_softcap);
  if (scale == 1 && cap == 0) return;
  pool.ParallelFor(rows * config.vocab, kLogitsTogether, [&](int64_t begin, int64_t end) {
    float* logits = act.logits.data() + begin;
    if (scale != 1) {
      for (int64_t i = 0; i < end - begin; ++i) logits[i] *= scale;
    }
    if (cap != 0) Kernels().softcap({.x = logits, .n = end - begin, .cap = cap});
  });
}

}  // namespace

void ComputeLogits(const ModelConfig& config, const Norm& final_norm, const Linear& head,
                   const ForwardBatch& batch, ThreadPool& pool, Activations& act) {
  const int64_t wanted = batch.logits_rows();
  FPTQ_CHECK(wanted <= act.max_logits_rows);
  pool.ParallelFor(wanted, [&](int64_t begin, int64_t end) {
    int64_t first = 0, end_row = 0;  // the chunk's first wanted row, and its end in the batch
    for (const BatchChunk& chunk : batch.chunks) {
      end_row += std::ssize(chunk.tokens);
      for (int64_t i = std::max(begin, first); i < std::min(end, first + chunk.logits); ++i) {
        const int64_t row = end_row - chunk.logits + i - first;
        float* normed = act.normed.data() + i * config.hidden;
        ApplyNorm(final_norm, config, act.hidden.data() + row * config.hidden, normed);
        if (head.act.rotated) Kernels().rotate({.x = normed, .rows = 1, .n = config.hidden});
        act.input.Set(head, i, normed);
      }
      first += chunk.logits;
    }
  });
  if (wanted > 0) Apply(head, act.input, wanted, pool, act.logits.data(), /*accumulate=*/false);
  ScaleLogits(config, wanted, pool, act);
  Stamp(act, ForwardPart::kHead);
}

}  // namespace fptq
