// What LLaMA's relatives have in common: the names of their tensors, and the rest of their
// ArchSpec.
#pragma once

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

// `rotated`: how the rows of q and k are stored; then which linears have biases.
constexpr std::array<LinearSpec, 7> Linears(RowOrder rotated, Bias qkv, Bias output, Bias mlp) {
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
      {ActSite::kMlpIn,
       {"model.layers.{}.mlp.gate_proj", "blk.{}.ffn_gate"},
       RowOrder::kAsIs,
       MlpChannels,
       mlp},
      {ActSite::kMlpIn, kUpProj, RowOrder::kAsIs, MlpChannels, mlp},
      {ActSite::kMlpMid,
       {"model.layers.{}.mlp.down_proj", "blk.{}.ffn_down"},
       RowOrder::kAsIs,
       HiddenChannels,
       mlp},
  }};
}

inline constexpr EqualizationGroup kEqualizationGroups[] = {
    {ActSite::kAttnIn, Producer::kNorm, kAttnNorm},
    {ActSite::kMlpIn, Producer::kNorm, kMlpNorm},
    {ActSite::kAttnOut, Producer::kLinear, kVProj},
    {ActSite::kMlpMid, Producer::kLinear, kUpProj},  // silu(gate) * up is linear in up
};

// LLaMA's relatives, each of which adds its linears and replaces what it has otherwise.
constexpr ArchSpec Relative(std::string_view name, std::string_view hf_class) {
  return {
      .name = name,
      .gguf_name = name,
      .hf_class = hf_class,
      .embedding = kEmbedding,
      .positions = {},
      .embedding_norm = {},
      .final_norm = kFinalNorm,
      .head = kHead,
      .norms = kNorms,
      .linears = {},
      .equalization_groups = kEqualizationGroups,
      .config_from_hf = nullptr,
      .config_from_gguf = nullptr,
      .config_to_hf = LlamaConfigToHf,
  };
}

}  // namespace fptq::llama_tensors
