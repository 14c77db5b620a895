#include "base/error.h"
#include "base/math.h"
#include "io/checkpoint.h"
#include "model/forward/rows.h"

namespace fptq {

void Embedding::ReadToken(int64_t token, std::span<float> out) const {
  if (packed) {
    packed->DequantizeRow(token, out);
  } else {
    DequantizeRange(tokens, token * std::ssize(out), out);
  }
}

void EmbedTokens(const ModelConfig& config, const Embedding& embedding, const ForwardBatch& batch,
                 ThreadPool& pool, Activations& act) {
  FPTQ_CHECK(batch.rows() <= act.max_rows);
  if (act.profile != nullptr) act.profile->Start();
  const auto scale = static_cast<float>(config.embedding_scale);
  pool.ParallelFor(batch.rows(), [&](int64_t begin, int64_t end) {
    ForEachRow(batch, begin, end, [&](const BatchChunk& chunk, int64_t index, int64_t row) {
      const auto hidden = act.hidden.span().subspan(static_cast<size_t>(row * config.hidden),
                                                    static_cast<size_t>(config.hidden));
      embedding.ReadToken(chunk.tokens[static_cast<size_t>(index)], hidden);
      if (scale != 1) {
        for (float& x : hidden) x *= scale;
      }
      if (embedding.positions != nullptr) {
        const int64_t at = chunk.first_position + index + config.position_offset;
        FPTQ_CHECK(at < embedding.positions->shape[0]);
        const auto position = act.normed.span().subspan(static_cast<size_t>(row * config.hidden),
                                                        static_cast<size_t>(config.hidden));
        DequantizeRange(*embedding.positions, at * config.hidden, position);
        for (size_t i = 0; i < hidden.size(); ++i) hidden[i] += position[i];
      }
      if (!embedding.norm.empty()) {
        ApplyNorm(embedding.norm, config, hidden.data(), hidden.data());
      }
    });
  });
  Stamp(act, ForwardPart::kEmbedding);
}

void PrepareRope(const ModelConfig& config, const ForwardBatch& batch, ThreadPool& pool,
                 Activations& act) {
  const int64_t half = config.rotary / 2;
  const auto fill = [&](RopeTable& table, int64_t position, int64_t row) {
    for (int64_t i = 0; i < std::ssize(table.frequencies); ++i) {
      // In float32 like transformers, so that angles at far positions agree with it.
      const float angle = static_cast<float>(position) * table.frequencies[static_cast<size_t>(i)];
      const SinCos at = SinCosOf(double{angle});
      table.cosines[row * half + i] = static_cast<float>(at.cos) * table.factor;
      table.sines[row * half + i] = static_cast<float>(at.sin) * table.factor;
    }
  };
  pool.ParallelFor(batch.rows(), [&](int64_t begin, int64_t end) {
    ForEachRow(batch, begin, end, [&](const BatchChunk& chunk, int64_t index, int64_t row) {
      fill(act.rope, chunk.first_position + index, row);
      fill(act.window_rope, chunk.first_position + index, row);
    });
  });
  Stamp(act, ForwardPart::kRopeAppend);
}

}  // namespace fptq
