#include "model/transformer.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/math.h"
#include "io/checkpoint.h"
#include "kernels/dispatch.h"
#include "model/key_offsets.h"
#include "model/positions.h"

namespace fptq {
namespace {

// Rows of a chunk that one attention task takes: the keys are read once for all of them.
constexpr int64_t kAttentionRows = 16;

int64_t MaxInputs(const ModelConfig& config) {
  int64_t inputs = 0;
  for (const ActSite site : kAllActSites) inputs = std::max(inputs, SiteInputs(config, site));
  return inputs;
}

void Stamp(Activations& act, ForwardPart part) {
  if (act.profile != nullptr) act.profile->Stamp(part);
}

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

// input = norm(x) for all rows of x. The float rows of a thread share one row of `normed`.
void NormInput(const ModelConfig& config, const Norm& norm, const float* x, const Linear& linear,
               int64_t rows, ThreadPool& pool, Activations& act) {
  pool.ParallelFor(rows, [&](int64_t begin, int64_t end) {
    float* normed = act.normed.data() + begin * config.hidden;
    for (int64_t row = begin; row < end; ++row) {
      ApplyNorm(norm, config, x + row * config.hidden, normed);
      act.input.Set(linear, row, normed);
    }
  });
}

void NormHeads(const ModelConfig& config, const Norm& norm, int64_t heads, float* x) {
  if (norm.empty()) return;
  for (int64_t head = 0; head < heads; ++head) {
    ApplyNorm(norm, config, x + head * config.head_dim, x + head * config.head_dim);
  }
}

void RotateAndAppend(const ModelConfig& config, const LayerWeights& weights,
                     const ForwardBatch& batch, KvCache& cache, int64_t cache_layer,
                     ThreadPool& pool, Activations& act) {
  const KernelTable& kernels = Kernels();
  const int64_t width = config.query_width() + 2 * config.kv_width();
  const auto append = [&](const BatchChunk& chunk, int64_t index, int64_t row) {
    float* query = act.qkv.data() + row * width;
    float* key = query + config.query_width();
    const float* value = key + config.kv_width();
    NormHeads(config, weights.q_norm, config.heads, query);
    NormHeads(config, weights.k_norm, config.kv_heads, key);
    kernels.rope({.x = query,  // the keys follow the queries
                  .heads = config.heads + config.kv_heads,
                  .head_dim = config.head_dim,
                  .rotary = config.rotary,
                  .cos = act.rope_cos.data() + row * (config.rotary / 2),
                  .sin = act.rope_sin.data() + row * (config.rotary / 2)});
    if (cache.type() == KvType::kI8) {
      // Queries and keys alike, so that their products stay: what a few channels of a key have in
      // common at all positions, as a bias, would else take its 8 bits.
      kernels.rotate({.x = query, .rows = config.heads + config.kv_heads, .n = config.head_dim});
    }
    for (int64_t head = 0; head < config.kv_heads; ++head) {
      const auto append_head = [&](auto kernel, auto kv) {
        kernel({.kv = kv,
                .position = chunk.first_position + index,
                .head_dim = config.head_dim,
                .key = key + head * config.head_dim,
                .value = value + head * config.head_dim,
                .key_offsets = KeyOffsetsOf(config, weights.key_offsets, head)});
      };
      switch (cache.type()) {
        case KvType::kI8:
          append_head(kernels.append_kv_i8, cache.I8(chunk.pages, cache_layer, head));
          break;
        case KvType::kF32:
          append_head(kernels.append_kv_f32, cache.F32(chunk.pages, cache_layer, head));
          break;
      }
    }
  };
  pool.ParallelFor(batch.rows(),
                   [&](int64_t begin, int64_t end) { ForEachRow(batch, begin, end, append); });
}

// How many sections the chunk's one row attends to; those of several rows are not shared.
AttentionSections SectionsOf(const BatchChunk& chunk, int64_t window) {
  if (chunk.tokens.size() > 1) return {};
  const int64_t position = chunk.first_position;
  const int64_t first = window > 0 ? std::max<int64_t>(0, position + 1 - window) / kKvSection : 0;
  return {.first = first, .count = position / kKvSection + 1 - first};
}

// Cuts the batch into tasks. Sections are shared as long as there is room for their states: a
// batch of many sequences has enough tasks without.
void PlanAttention(const ModelConfig& config, int64_t window, const ForwardBatch& batch,
                   KvType type, Activations& act) {
  const int64_t state_size = config.heads * SectionStateSize(config.head_dim);
  int64_t row = 0, used = 0;
  act.sections.clear();
  act.attention_tasks.clear();
  for (const BatchChunk& chunk : batch.chunks) {
    AttentionSections& sections = act.sections.emplace_back(
        type == KvType::kI8 ? SectionsOf(chunk, window) : AttentionSections());
    if (sections.count > 1 && used + sections.count <= act.max_sections) {
      sections.states = act.section_states.data() + used * state_size;
      used += sections.count;
      for (int64_t i = 0; i < sections.count; ++i) {
        act.attention_tasks.push_back(
            {.chunk = &chunk, .row = row, .sections = &sections, .section = i});
      }
    } else {
      for (int64_t i = 0; i < std::ssize(chunk.tokens); i += kAttentionRows) {
        act.attention_tasks.push_back({.chunk = &chunk, .row = row + i, .index = i});
      }
    }
    row += std::ssize(chunk.tokens);
  }
}

// Shared sections remain to be merged: AttentionOutput.
void Attention(const ModelConfig& config, const AlignedBuffer<float>& key_offsets, int64_t window,
               const ForwardBatch& batch, KvCache& cache, int64_t cache_layer, ThreadPool& pool,
               Activations& act) {
  const KernelTable& kernels = Kernels();
  const int64_t width = config.query_width() + 2 * config.kv_width();
  const int64_t group = config.heads / config.kv_heads;
  PlanAttention(config, window, batch, cache.type(), act);

  pool.ParallelEach(std::ssize(act.attention_tasks) * config.kv_heads, [&](int64_t i) {
    const AttentionTask& task = act.attention_tasks[static_cast<size_t>(i / config.kv_heads)];
    const int64_t head = i % config.kv_heads;
    const BatchChunk& chunk = *task.chunk;
    const auto args = [&]<typename Kv>(Kv kv) {
      return AttentionArgs<Kv>{
          .kv = kv,
          .first_position = chunk.first_position + task.index,
          .rows = std::min(kAttentionRows, std::ssize(chunk.tokens) - task.index),
          .heads = group,
          .head_dim = config.head_dim,
          .softmax_scale = 1.0f / std::sqrt(static_cast<float>(config.head_dim)),
          .query = act.qkv.data() + task.row * width + head * group * config.head_dim,
          .query_stride = width,
          .out = act.attention.data() + task.row * config.query_width() +
                 head * group * config.head_dim,
          .out_stride = config.query_width(),
          .window = window,
          .alibi_slopes = config.alibi ? act.alibi_slopes.data() + head * group : nullptr,
          .key_offsets = KeyOffsetsOf(config, key_offsets, head)};
    };
    switch (cache.type()) {
      case KvType::kI8:
        if (task.sections != nullptr) {
          kernels.attention_section_i8(
              {.attention = args(cache.I8(chunk.pages, cache_layer, head)),
               .section = task.sections->first + task.section,
               .states = task.sections->states + (task.section * config.heads + head * group) *
                                                     SectionStateSize(config.head_dim)});
        } else {
          kernels.attention_i8(args(cache.I8(chunk.pages, cache_layer, head)));
        }
        break;
      case KvType::kF32:
        kernels.attention_f32(args(cache.F32(chunk.pages, cache_layer, head)));
        break;
    }
  });
}

// input = the output of attention
void AttentionOutput(const ModelConfig& config, const ForwardBatch& batch, const Linear& o,
                     ThreadPool& pool, Activations& act) {
  pool.ParallelFor(batch.rows(), [&](int64_t begin, int64_t end) {
    ForEachRow(batch, begin, end, [&](const BatchChunk& chunk, int64_t, int64_t row) {
      float* out = act.attention.data() + row * config.query_width();
      const AttentionSections& sections =
          act.sections[static_cast<size_t>(&chunk - batch.chunks.data())];
      if (sections.states != nullptr) {
        Kernels().merge_sections({.states = sections.states,
                                  .sections = sections.count,
                                  .heads = config.heads,
                                  .head_dim = config.head_dim,
                                  .out = out});
      }
      act.input.Set(o, row, out);
    });
  });
}

void Activate(Activation activation, const ActivationArgs& args) {
  switch (activation) {
    case Activation::kSilu:
      return Kernels().silu(args);
    case Activation::kGeluTanh:
      return Kernels().gelu_tanh(args);
    case Activation::kGelu:
      return Kernels().gelu(args);
    case Activation::kRelu:
      return Kernels().relu(args);
  }
}

// input = f(gate) * up, or f(up)
void MlpInput(const ModelConfig& config, const Linear& down, int64_t rows, ThreadPool& pool,
              Activations& act) {
  pool.ParallelFor(rows, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      float* x = act.gate_up.data() + row * config.mlp_width();
      Activate(
          config.activation,
          {.x = x, .up = config.gated_mlp ? x + config.mlp : nullptr, .n = config.mlp, .out = x});
      act.input.Set(down, row, x);
    }
  });
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

}  // namespace

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

Activations::Activations(const ModelConfig& config, int64_t rows, int64_t logits_rows,
                         int64_t shared_sections)
    : max_rows(rows),
      max_logits_rows(logits_rows),
      max_sections(shared_sections),
      hidden(rows * config.hidden),
      normed(rows * config.hidden),
      input(std::max(rows, logits_rows), MaxInputs(config)),
      qkv(rows * (config.query_width() + 2 * config.kv_width())),
      attention(rows * config.query_width()),
      section_states(CheckedMultiply(
          shared_sections, config.heads * SectionStateSize(config.head_dim), "attention")),
      gate_up(rows * config.mlp_width()),
      layer_input(config.parallel_residual ? rows * config.hidden : 0),
      logits(CheckedMultiply(logits_rows, config.vocab, "logits")),
      rope_cos(rows * (config.rotary / 2)),
      rope_sin(rows * (config.rotary / 2)),
      rope_frequencies(RopeFrequencies(config)),
      alibi_slopes(config.alibi ? AlibiSlopes(config.heads) : std::vector<float>()) {
  sections.reserve(static_cast<size_t>(rows));
  attention_tasks.reserve(static_cast<size_t>(rows + shared_sections));
}

void EmbedTokens(const ModelConfig& config, const Embedding& embedding, const ForwardBatch& batch,
                 ThreadPool& pool, Activations& act) {
  FPTQ_CHECK(batch.rows() <= act.max_rows);
  if (act.profile != nullptr) act.profile->Start();
  pool.ParallelFor(batch.rows(), [&](int64_t begin, int64_t end) {
    ForEachRow(batch, begin, end, [&](const BatchChunk& chunk, int64_t index, int64_t row) {
      const auto hidden = act.hidden.span().subspan(static_cast<size_t>(row * config.hidden),
                                                    static_cast<size_t>(config.hidden));
      DequantizeRange(*embedding.tokens, chunk.tokens[static_cast<size_t>(index)] * config.hidden,
                      hidden);
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
  const auto prepare = [&](const BatchChunk& chunk, int64_t index, int64_t row) {
    const auto position = static_cast<float>(chunk.first_position + index);
    for (int64_t i = 0; i < half; ++i) {
      // In float32 like transformers, so that angles at far positions agree with it.
      const float angle = position * act.rope_frequencies[static_cast<size_t>(i)];
      const SinCos at = SinCosOf(double{angle});
      act.rope_cos[row * half + i] = static_cast<float>(at.cos);
      act.rope_sin[row * half + i] = static_cast<float>(at.sin);
    }
  };
  pool.ParallelFor(batch.rows(),
                   [&](int64_t begin, int64_t end) { ForEachRow(batch, begin, end, prepare); });
  Stamp(act, ForwardPart::kRopeAppend);
}

void ForwardLayer(const ModelConfig& config, const LayerWeights& weights, int64_t layer,
                  const ForwardBatch& batch, KvCache& cache, int64_t cache_layer, ThreadPool& pool,
                  Activations& act, ActivationObserver* observer) {
  const int64_t window = config.window(layer);
  ValidateBatch(window, batch, cache, act);
  const int64_t rows = batch.rows();
  const auto enter = [&](ActSite site) -> const Linear& {
    act.input.saturation = act.saturation == nullptr ? nullptr : &act.saturation->at(layer, site);
    return weights.at(site);
  };
  const auto observe = [&](ActSite site) {
    const Linear& linear = weights.at(site);
    if (observer != nullptr && !linear.quantized()) {
      observer->Observe(layer, site, act.input.floats(rows, linear.k()), rows);
    }
  };

  // What the MLP's norm reads: the residual stream after attention, or before it.
  const float* mlp_from = act.hidden.data();
  if (config.parallel_residual) {
    std::copy_n(act.hidden.data(), rows * config.hidden, act.layer_input.data());
    mlp_from = act.layer_input.data();
  }

  const Linear& qkv = enter(ActSite::kAttnIn);
  NormInput(config, weights.attn_norm, act.hidden.data(), qkv, rows, pool, act);
  Stamp(act, ForwardPart::kNormQuantize);
  observe(ActSite::kAttnIn);
  Apply(qkv, act.input, rows, pool, act.qkv.data(), /*accumulate=*/false);
  Stamp(act, ForwardPart::kQkv);
  RotateAndAppend(config, weights, batch, cache, cache_layer, pool, act);
  Stamp(act, ForwardPart::kRopeAppend);
  Attention(config, weights.key_offsets, window, batch, cache, cache_layer, pool, act);
  Stamp(act, ForwardPart::kAttention);

  const Linear& o = enter(ActSite::kAttnOut);
  AttentionOutput(config, batch, o, pool, act);
  Stamp(act, ForwardPart::kNormQuantize);
  observe(ActSite::kAttnOut);
  Apply(o, act.input, rows, pool, act.hidden.data(), /*accumulate=*/true);
  Stamp(act, ForwardPart::kAttnOut);

  const Linear& gate_up = enter(ActSite::kMlpIn);
  NormInput(config, weights.mlp_norm, mlp_from, gate_up, rows, pool, act);
  Stamp(act, ForwardPart::kNormQuantize);
  observe(ActSite::kMlpIn);
  Apply(gate_up, act.input, rows, pool, act.gate_up.data(), /*accumulate=*/false);
  Stamp(act, ForwardPart::kGateUp);

  const Linear& down = enter(ActSite::kMlpMid);
  MlpInput(config, down, rows, pool, act);
  Stamp(act, ForwardPart::kSiluQuantize);
  observe(ActSite::kMlpMid);
  Apply(down, act.input, rows, pool, act.hidden.data(), /*accumulate=*/true);
  Stamp(act, ForwardPart::kDown);
}

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
  Stamp(act, ForwardPart::kHead);
}

}  // namespace fptq
