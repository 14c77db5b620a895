#include <algorithm>

#include "kernels/dispatch.h"
#include "model/forward/rows.h"
#include "model/forward/steps.h"
#include "model/key_offsets.h"

namespace fptq {
namespace {

// Rows of a chunk that one attention task takes: the keys are read once for all of them.
constexpr int64_t kAttentionRows = 16;

// Head by head, or all of them together, as the size of the norm says.
void NormHeads(const ModelConfig& config, const Norm& norm, int64_t heads, float* x) {
  if (norm.empty()) return;
  const auto size = std::ssize(norm.weight);
  for (int64_t begin = 0; begin < heads * config.head_dim; begin += size) {
    ApplyNorm(norm, config, x + begin, x + begin);
  }
}

// How many sections the chunk's one row attends to; those of several rows are not shared.
AttentionSections SectionsOf(const BatchChunk& chunk, int64_t window) {
  if (chunk.tokens.size() > 1) return {};
  const int64_t position = chunk.first_position;
  const int64_t first = window > 0 ? std::max<int64_t>(0, position + 1 - window) / kKvSection : 0;
  return {.first = first, .count = position / kKvSection + 1 - first};
}

// The first block of the cache that a task reads.
int64_t FirstBlock(const AttentionTask& task, int64_t window) {
  const int64_t position = task.chunk->first_position + task.index;
  int64_t first = window > 0 ? std::max<int64_t>(0, position + 1 - window) : 0;
  if (task.sections != nullptr) {
    first = std::max(first, (task.sections->first + task.section) * kKvSection);
  }
  return first / kKvBlock;
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

}  // namespace

void RotateAndAppend(const ModelConfig& config, const LayerWeights& weights, int64_t layer,
                     const ForwardBatch& batch, KvCache& cache, int64_t cache_layer,
                     ThreadPool& pool, Activations& act) {
  const KernelTable& kernels = Kernels();
  const int64_t width = config.attn_in_outputs();
  const Rope* rope = config.rope_of(layer);
  const RopeTable& table = rope == &config.rope ? act.rope : act.window_rope;
  const auto append = [&](const BatchChunk& chunk, int64_t index, int64_t row) {
    float* query = act.qkv.data() + row * width;
    float* key = query + config.query_width();
    const float* value = key + config.kv_width();
    NormHeads(config, weights.norms.at(NormRole::kQ), config.heads, query);
    NormHeads(config, weights.norms.at(NormRole::kK), config.kv_heads, key);
    if (rope != nullptr) {
      kernels.rope({.x = query,  // the keys follow the queries
                    .heads = config.heads + config.kv_heads,
                    .head_dim = config.head_dim,
                    .rotary = config.rotary,
                    .cos = table.cosines.data() + row * (config.rotary / 2),
                    .sin = table.sines.data() + row * (config.rotary / 2)});
    }
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

void Attention(const ModelConfig& config, const AlignedBuffer<float>& key_offsets, int64_t window,
               const ForwardBatch& batch, KvCache& cache, int64_t cache_layer, ThreadPool& pool,
               Activations& act) {
  const KernelTable& kernels = Kernels();
  const int64_t width = config.attn_in_outputs();
  const int64_t group = config.heads / config.kv_heads;
  PlanAttention(config, window, batch, cache.type(), act);

  const int64_t tasks = std::ssize(act.attention_tasks) * config.kv_heads;
  const auto task_of = [&](int64_t i) -> const AttentionTask& {
    return act.attention_tasks[static_cast<size_t>(i / config.kv_heads)];
  };
  // Tasks that take equally long go to the threads in turns.
  const auto next_of = [&](int64_t i) -> KvI8 {
    i += pool.threads();
    if (i >= tasks) return {};
    const AttentionTask& task = task_of(i);
    KvI8 kv = cache.I8(task.chunk->pages, cache_layer, i % config.kv_heads);
    kv.pages += FirstBlock(task, window);
    return kv;
  };
  pool.ParallelEach(tasks, [&](int64_t i) {
    const AttentionTask& task = task_of(i);
    const int64_t head = i % config.kv_heads;
    const BatchChunk& chunk = *task.chunk;
    const auto args = [&]<typename Kv>(Kv kv, Kv next = {}) {
      return AttentionArgs<Kv>{
          .kv = kv,
          .first_position = chunk.first_position + task.index,
          .rows = std::min(kAttentionRows, std::ssize(chunk.tokens) - task.index),
          .heads = group,
          .head_dim = config.head_dim,
          .softmax_scale = config.softmax_scale(),
          .query = act.qkv.data() + task.row * width + head * group * config.head_dim,
          .query_stride = width,
          .out = act.attention.data() + task.row * config.query_width() +
                 head * group * config.head_dim,
          .out_stride = config.query_width(),
          .window = window,
          .alibi_slopes = config.alibi ? act.alibi_slopes.data() + head * group : nullptr,
          .key_offsets = KeyOffsetsOf(config, key_offsets, head),
          .softcap = static_cast<float>(config.attention_softcap),
          .next = next};
    };
    switch (cache.type()) {
      case KvType::kI8:
        if (task.sections != nullptr) {
          kernels.attention_section_i8(
              {.attention = args(cache.I8(chunk.pages, cache_layer, head), next_of(i)),
               .section = task.sections->first + task.section,
               .states = task.sections->states + (task.section * config.heads + head * group) *
                                                     SectionStateSize(config.head_dim)});
        } else {
          kernels.attention_i8(args(cache.I8(chunk.pages, cache_layer, head), next_of(i)));
        }
        break;
      case KvType::kF32:
        kernels.attention_f32(args(cache.F32(chunk.pages, cache_layer, head)));
        break;
    }
  });
}

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

}  // namespace fptq
