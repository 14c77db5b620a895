// The one forward pass: prefill, decode, evaluation and calibration all call it.
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "base/tensor.h"
#include "base/thread_pool.h"
#include "model/arch/arch.h"
#include "model/config.h"
#include "model/kv_cache.h"
#include "model/profile.h"
#include "model/weights/embedding.h"
#include "model/weights/linear.h"
#include "model/weights/norm.h"

namespace fptq {

// Consecutive positions of one sequence: a chunk of a prompt, or one decode step. At least one.
struct BatchChunk {
  std::span<const int32_t> pages;  // the sequence's block table, up to the chunk's last position
  int64_t first_position = 0;      // all earlier positions are in the cache
  std::span<const int32_t> tokens;
  int64_t logits = 0;  // how many of the last rows want logits

  // The pages of the positions from `begin` to the chunk's last one.
  std::span<const int32_t> Pages(int64_t begin) const;
};

// Any mix of prefill chunks and decode steps, at most one chunk a sequence: no two write to one
// page. Its rows are the chunks' tokens, in order.
struct ForwardBatch {
  std::vector<BatchChunk> chunks;

  int64_t rows() const;
  int64_t logits_rows() const;
};

struct MlpWeights {
  Linear gate_up;  // up alone in an MLP without gate; empty if attention shares its norm
  Linear down;
};

struct LayerWeights {
  LayerNorms norms;
  Linear qkv;  // all of kAttnIn
  Linear o;
  std::vector<MlpWeights> mlps;      // MlpsOf()
  Linear router;                     // of a mixture: [experts, hidden], float
  Linear shared_gate;                // of a mixture that has a shared expert: [1, hidden], float
  AlignedBuffer<float> key_offsets;  // key_offsets.h; or empty

  // The linear of a site of attention, or of an MLP, by its place in `mlps`.
  const Linear& at(ActSite site, size_t mlp = 0) const;
  // Calls body(linear) for all of them.
  void ForEachLinear(FunctionRef<void(const Linear&)> body) const;
};

// Sees the activations that enter each linear. Only sites whose linear is float are reported.
class ActivationObserver {
 public:
  virtual ~ActivationObserver() = default;
  // `rows` is [n_rows, k]; called from the thread that called the forward pass.
  virtual void Observe(int64_t layer, const SiteId& site, std::span<const float> rows,
                       int64_t n_rows) = 0;
};

// The sections of the KV cache (kernels.h) that attention takes one by one for a chunk of one row,
// so that several threads can share a long context; or one, where it takes them all together.
struct AttentionSections {
  int64_t first = 0, count = 1;
  float* states = nullptr;  // [count, heads, SectionStateSize]
};

// What one thread does for a KV head: some rows of a chunk, or a section of its one row.
struct AttentionTask {
  const BatchChunk* chunk = nullptr;
  int64_t row = 0;                              // the first one, in the batch
  int64_t index = 0;                            // the first one, in the chunk
  const AttentionSections* sections = nullptr;  // null: all sections together
  int64_t section = 0;                          // which of them
};

// cos and sin of the batch's positions.
struct RopeTable {
  RopeTable() = default;
  RopeTable(const Rope& rope, int64_t rotary, int64_t max_rows);

  std::vector<float> frequencies;       // [rotary / 2]
  float factor = 1;                     // RopeScaling::attention_factor
  AlignedBuffer<float> cosines, sines;  // [rows, rotary / 2]
};

// A row that an MLP of a mixture takes, and what its output is multiplied by.
struct RoutedRow {
  int64_t row = 0;
  float weight = 0;
};

// Which rows of a batch each MLP of a mixture takes.
struct Routing {
  Routing() = default;
  Routing(const ModelConfig& config, int64_t max_rows);

  // In the order of the batch; `mlp` is the place in MlpsOf().
  std::span<const RoutedRow> RowsOf(size_t mlp) const {
    return std::span(rows).subspan(begins[mlp], begins[mlp + 1] - begins[mlp]);
  }

  std::vector<RoutedRow> rows;  // by MLP
  std::vector<size_t> begins;   // [MLPs + 1], of each MLP in `rows`
  // Of each row: the router's scores and the score of the shared expert; the experts, of which the
  // first `active` are those it takes, in their order, and their weights.
  AlignedBuffer<float> scores, shared_scores;  // [rows, experts], [rows]
  AlignedBuffer<int32_t> experts;              // [rows, experts]
  AlignedBuffer<float> weights;                // [rows, active]
};

// All scratch of the forward pass, allocated once for up to max_rows rows and max_logits_rows rows
// of logits. `max_sections`: how many sections of the KV cache the threads may share in a step
// (speed alone depends on it).
struct Activations {
  Activations(const ModelConfig& config, int64_t max_rows, int64_t max_logits_rows,
              int64_t max_sections = 0);

  int64_t max_rows, max_logits_rows, max_sections;
  AlignedBuffer<float> hidden;              // [rows, hidden]: the residual stream
  AlignedBuffer<float> normed;              // [rows, hidden]
  LinearInput input;                        // what enters the next linear
  AlignedBuffer<float> qkv;                 // [rows, attn_in_outputs]
  AlignedBuffer<float> attention;           // [rows, query_width]
  AlignedBuffer<float> section_states;      // [sections, heads, SectionStateSize]
  std::vector<AttentionSections> sections;  // of each chunk, in the current layer
  std::vector<AttentionTask> attention_tasks;
  AlignedBuffer<float> gate_up;      // [rows, gate_up_width of the widest MLP]; of a shared norm
                                     // empty, as they stand behind q, k and v
  AlignedBuffer<float> layer_input;  // [rows, hidden], for a parallel residual
  AlignedBuffer<float> branch;       // [rows, hidden]: what attention or MLP gives, where
                                     // more is done with it than to add it
  AlignedBuffer<float> expert_out;   // [rows, hidden]: what an MLP of a mixture gives
  Routing routing;                   // of a mixture
  AlignedBuffer<float> logits;       // [logits_rows, vocab]
  RopeTable rope, window_rope;       // of Rope and ModelConfig::window_rope
  std::vector<float> alibi_slopes;   // [heads] or empty
  Profile* profile = nullptr;        // not owned; null: the time of the parts is not taken
  Saturation* saturation = nullptr;  // not owned; null: saturating activations are not counted
};

// The steps of the forward pass. All of them allocate nothing.
// hidden[r] = the embedding of token r at its position.
void EmbedTokens(const ModelConfig& config, const Embedding& embedding, const ForwardBatch& batch,
                 ThreadPool& pool, Activations& act);
// cos and sin of the batch's positions; once before the layers.
void PrepareRope(const ModelConfig& config, const ForwardBatch& batch, ThreadPool& pool,
                 Activations& act);
// hidden = layer(hidden); appends the batch to layer `cache_layer` of the cache. `layer` is what
// the observer is told: the two differ where a cache holds one layer alone.
void ForwardLayer(const ModelConfig& config, const LayerWeights& weights, int64_t layer,
                  const ForwardBatch& batch, KvCache& cache, int64_t cache_layer, ThreadPool& pool,
                  Activations& act, ActivationObserver* observer = nullptr);
// The parts of ForwardLayer for a mixture, for whoever has not all of its MLPs at once.
// hidden += attention(norm(hidden)).
void ForwardAttention(const ModelConfig& config, const LayerWeights& weights, int64_t layer,
                      const ForwardBatch& batch, KvCache& cache, int64_t cache_layer,
                      ThreadPool& pool, Activations& act, ActivationObserver* observer = nullptr);
// normed = norm(hidden), which its MLPs take, and routing: who takes what.
void RouteRows(const ModelConfig& config, const LayerWeights& weights, int64_t rows,
               ThreadPool& pool, Activations& act);
// outputs[row] += weight * mlp(inputs[row]) for these rows, at most act.max_rows, of inputs and
// outputs, [any, hidden].
void AddMlp(const ModelConfig& config, const MlpWeights& weights, int64_t layer, MlpId mlp,
            std::span<const RoutedRow> rows, std::span<const float> inputs,
            std::span<float> outputs, ThreadPool& pool, Activations& act,
            ActivationObserver* observer = nullptr);
// hidden += residual_scale * norm(branch), or without a norm.
void AddBranch(const ModelConfig& config, const Norm& norm, int64_t rows, ThreadPool& pool,
               Activations& act);
// logits = head(norm(hidden)) of the rows that want them, in the order of the batch.
// A head may take rotated inputs (ActQuant).
void ComputeLogits(const ModelConfig& config, const Norm& final_norm, const Linear& head,
                   const ForwardBatch& batch, ThreadPool& pool, Activations& act);

}  // namespace fptq
