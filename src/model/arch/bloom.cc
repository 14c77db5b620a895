// BLOOM: ALiBi, a LayerNorm after the embedding, GELU by tanh, one linear for q, k and v.
#include "base/error.h"
#include "model/arch/fused_tensors.h"
#include "model/arch/gguf_config.h"

namespace fptq {
namespace {

constexpr fused_tensors::Names kNames = {
    .attn_norm = {"transformer.h.{}.input_layernorm", "blk.{}.attn_norm"},
    .mlp_norm = {"transformer.h.{}.post_attention_layernorm", "blk.{}.ffn_norm"},
    .qkv = {"transformer.h.{}.self_attention.query_key_value", "blk.{}.attn_qkv"},
    .output = {"transformer.h.{}.self_attention.dense", "blk.{}.attn_output"},
    .up = {"transformer.h.{}.mlp.dense_h_to_4h", "blk.{}.ffn_up"},
    .down = {"transformer.h.{}.mlp.dense_4h_to_h", "blk.{}.ffn_down"}};
constexpr auto kNorms = fused_tensors::Norms(kNames);
constexpr auto kLinears =
    fused_tensors::Linears(kNames, RowOrder::kQkvByGroup, Bias::kAlways, Bias::kAlways);
constexpr auto kGroups = fused_tensors::Groups(kNames);

void SetFixed(ModelConfig& config) {
  config.norm = NormKind::kLayer;
  config.activation = Activation::kGeluTanh;
  config.gated_mlp = false;
  config.alibi = true;
}

ModelConfig ConfigFromHf(const JsonFields& fields) {
  RequireBool(fields, "apply_residual_connection_post_layernorm", false);
  RequireFullAttention(fields);
  ModelConfig config;
  SetFixed(config);
  config.layers = fields.Int(EitherName(fields, "n_layer", "num_hidden_layers"), 1, kMaxInt);
  config.hidden = fields.Int(EitherName(fields, "n_embed", "hidden_size"), 1, kMaxInt);
  config.heads = fields.Int(EitherName(fields, "n_head", "num_attention_heads"), 1, kMaxInt);
  config.kv_heads = config.heads;
  config.head_dim = DefaultHeadDim(fields, "hidden_size", config);
  config.mlp = 4 * config.hidden;
  config.vocab = fields.Int("vocab_size", 1, kMaxInt);
  config.max_positions = fields.IntOr("seq_length", 2048, 1, kMaxInt);
  config.norm_epsilon = fields.DoubleOr("layer_norm_epsilon", 1e-5);
  config.tied_head = fields.BoolOr("tie_word_embeddings", true);
  return config;
}

ModelConfig ConfigFromGguf(const JsonFields& fields) {
  ModelConfig config = ReadGgufDimensions(fields, "bloom");
  SetFixed(config);
  if (config.mlp != 4 * config.hidden) {
    throw Error("{}: bloom.feed_forward_length: expected 4 x {}, found {}", fields.where(),
                config.hidden, config.mlp);
  }
  RequireEqualHeads(fields, "bloom", config);
  config.norm_epsilon = fields.Double("bloom.attention.layer_norm_epsilon");
  RequireBool(fields, "bloom.use_parallel_residual", false);
  return config;
}

Json ConfigToHf(const ModelConfig& config) {
  return {
      {"n_layer", config.layers},
      {"hidden_size", config.hidden},
      {"n_head", config.heads},
      {"seq_length", config.max_positions},
      {"layer_norm_epsilon", config.norm_epsilon},
      {"apply_residual_connection_post_layernorm", false},
  };
}

}  // namespace

extern const ArchSpec kBloomArch;
const ArchSpec kBloomArch = {
    .name = "bloom",
    .gguf_name = "bloom",
    .hf_class = "BloomForCausalLM",
    .embedding = {"transformer.word_embeddings", "token_embd"},
    .embedding_norm = {"transformer.word_embeddings_layernorm", "token_embd_norm"},
    .final_norm = {"transformer.ln_f", "output_norm"},
    .head = {"lm_head", "output"},
    .norms = kNorms,
    .linears = kLinears,
    .equalization_groups = kGroups,
    .config_from_hf = ConfigFromHf,
    .config_from_gguf = ConfigFromGguf,
    .config_to_hf = ConfigToHf,
};

}  // namespace fptq
