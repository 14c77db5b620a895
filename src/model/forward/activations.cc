#include <algorithm>

#include "model/positions.h"
#include "model/transformer.h"

namespace fptq {
namespace {

int64_t MaxInputs(const ModelConfig& config) {
  return std::max({config.hidden, config.query_width(), config.WidestMlp()});
}

// What AddBranch needs room for.
bool HasBranch(const ModelConfig& config) {
  return config.residual_scale != 1 || config.mixture.experts > 0 ||
         std::ranges::any_of(config.arch->norms, [](const NormSpec& norm) {
           return norm.role == NormRole::kAttnOut || norm.role == NormRole::kMlpOut;
         });
}

}  // namespace

RopeTable::RopeTable(const Rope& rope, int64_t rotary, int64_t max_rows)
    : frequencies(RopeFrequencies(rope, rotary)),
      factor(static_cast<float>(rope.scaling.attention_factor)),
      cosines(max_rows * (rotary / 2)),
      sines(max_rows * (rotary / 2)) {}

Activations::Activations(const ModelConfig& config, int64_t rows, int64_t logits_rows,
                         int64_t shared_sections)
    : max_rows(rows),
      max_logits_rows(logits_rows),
      max_sections(shared_sections),
      hidden(rows * config.hidden),
      normed(rows * config.hidden),
      input(std::max(rows, logits_rows), MaxInputs(config)),
      qkv(rows * config.attn_in_outputs()),
      attention(rows * config.query_width()),
      section_states(CheckedMultiply(
          shared_sections, config.heads * SectionStateSize(config.head_dim), "attention")),
      gate_up(config.shared_norm ? 0 : rows * config.gate_up_width(config.WidestMlp())),
      layer_input(config.parallel_residual && !config.shared_norm ? rows * config.hidden : 0),
      branch(HasBranch(config) ? rows * config.hidden : 0),
      expert_out(config.mixture.experts > 0 ? rows * config.hidden : 0),
      routing(config.mixture.experts > 0 ? Routing(config, rows) : Routing()),
      logits(CheckedMultiply(logits_rows, config.vocab, "logits")),
      rope(config.rotary > 0 ? RopeTable(config.rope, config.rotary, rows) : RopeTable()),
      window_rope(config.window_rope ? RopeTable(*config.window_rope, config.rotary, rows)
                                     : RopeTable()),
      alibi_slopes(config.alibi ? AlibiSlopes(config.heads, config.alibi_scale)
                                : std::vector<float>()) {
  sections.reserve(static_cast<size_t>(rows));
  attention_tasks.reserve(static_cast<size_t>(rows + shared_sections));
}

}  // namespace fptq
