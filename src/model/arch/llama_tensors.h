// What LLaMA's relatives have in common: the names of their tensors, and the rest of their
// ArchSpec.
#pragma once

#include <algorithm>
#include <array>

#include "model/arch/common.h"

namespace fptq::llama_tensors {

inline constexpr TensorNames kEmbedding = {"model.embed_tokens", "token_embd"};
inline constexpr TensorNames kFinalNorm = {"model.norm", "output_norm"};
inline constexpr TensorNames kHead = {"lm_head", "output"};
inline constexpr TensorNames kAttnNorm = {"model.layers.{}.input_layernorm", "blk.{}.attn_norm"};
inline constexpr TensorNames kMlpNorm = {"model.layers.{}.post_attention_layernorm",
                                         "blk.{}.ffn_norm"};
inline constexpr TensorNames kQNorm = {"model.layers.{}.self_attn.q_norm", "blk.{}.attn_q_norm"};
inline constexpr TensorNames kKNorm = {"model.layers.{}.self_attn.k_norm", "blk.{}.attn_k_norm"};
inline constexpr TensorNames kVProj = {"model.layers.{}.self_attn.v_proj", "blk.{}.attn_v"};
inline constexpr TensorNames kUpProj = {"model.layers.{}.mlp.up_proj", "blk.{}.ffn_up"};

inline constexpr NormSpec kNorms[] = {
    {NormRole::kAttn, kAttnNorm, HiddenChannels},
    {NormRole::kMlp, kMlpNorm, HiddenChannels},
};

// With those of each head of q and k.
inline constexpr NormSpec kHeadNorms[] = {
    {NormRole::kAttn, kAttnNorm, HiddenChannels},
    {NormRole::kMlp, kMlpNorm, HiddenChannels},
    {NormRole::kQ, kQNorm, HeadDim},
    {NormRole::kK, kKNorm, HeadDim},
};

// `rotated`: how the rows of q and k are stored; then which linears have biases.
constexpr std::array<LinearSpec, 4> AttentionLinears(RowOrder rotated, Bias qkv, Bias output) {
  return {{
      {ActSite::kAttnIn,
       {"model.layers.{}.self_attn.q_proj", "blk.{}.attn_q"},
       rotated,
       QueryChannels,
       qkv},
      {ActSite::kAttnIn,
       {"model.layers.{}.self_attn.k_proj", "blk.{}.attn_k"},
       rotated,
       KvChannels,
       qkv},
      {ActSite::kAttnIn, kVProj, RowOrder::kAsIs, KvChannels, qkv},
      {ActSite::kAttnOut,
       {"model.layers.{}.self_attn.o_proj", "blk.{}.attn_output"},
       RowOrder::kAsIs,
       HiddenChannels,
       output},
  }};
}

// A gated MLP whose gate and up have `width` channels.
struct MlpNames {
  TensorNames gate, up, down;
};
inline constexpr MlpNames kMlp = {{"model.layers.{}.mlp.gate_proj", "blk.{}.ffn_gate"},
                                  kUpProj,
                                  {"model.layers.{}.mlp.down_proj", "blk.{}.ffn_down"}};
constexpr std::array<LinearSpec, 3> MlpLinears(const MlpNames& names, MlpKind kind,
                                               int64_t (*width)(const ModelConfig&), Bias bias) {
  return {{
      {ActSite::kMlpIn, names.gate, RowOrder::kAsIs, width, bias, kind},
      {ActSite::kMlpIn, names.up, RowOrder::kAsIs, width, bias, kind},
      {ActSite::kMlpMid, names.down, RowOrder::kAsIs, HiddenChannels, bias, kind},
  }};
}

template <size_t... kSizes>
constexpr auto Join(const std::array<LinearSpec, kSizes>&... parts) {
  std::array<LinearSpec, (kSizes + ...)> all{};
  auto end = all.begin();
  ((end = std::copy(parts.begin(), parts.end(), end)), ...);
  return all;
}

constexpr std::array<LinearSpec, 7> Linears(RowOrder rotated, Bias qkv, Bias output, Bias mlp) {
  return Join(AttentionLinears(rotated, qkv, output),
              MlpLinears(kMlp, MlpKind::kDense, MlpChannels, mlp));
}

inline constexpr EqualizationGroup kEqualizationGroups[] = {
    {ActSite::kAttnIn, Producer::kNorm, kAttnNorm},
    {ActSite::kMlpIn, Producer::kNorm, kMlpNorm},
    {ActSite::kAttnOut, Producer::kLinear, kVProj},
    {ActSite::kMlpMid, Producer::kLinear, kUpProj},  // silu(gate) * up is linear in up
};

// A relative of LLaMA: `arch` with LLaMA's names, and LLaMA's norms and equalization if it has none
// of its own.
constexpr ArchSpec Relative(ArchSpec arch) {
  const bool has_gguf = arch.config_from_gguf != nullptr;
  if (has_gguf && arch.gguf_name.empty()) arch.gguf_name = arch.name;
  if (has_gguf && arch.config_to_hf == nullptr) arch.config_to_hf = LlamaConfigToHf;
  arch.embedding = kEmbedding;
  arch.final_norm = kFinalNorm;
  arch.head = kHead;
  if (arch.norms.empty()) arch.norms = kNorms;
  if (arch.equalization_groups.empty()) arch.equalization_groups = kEqualizationGroups;
  return arch;
}

}  // namespace fptq::llama_tensors
