// GPT-NeoX and Pythia: attention and MLP side by side, rotary embeddings of a part of each head,
// one linear for q, k and v.
#include "base/error.h"
#include "model/arch/fused_tensors.h"
#include "model/arch/gguf_config.h"

namespace fptq {
namespace {

constexpr fused_tensors::Names kNames = {
    .attn_norm = {"gpt_neox.layers.{}.input_layernorm", "blk.{}.attn_norm"},
    .mlp_norm = {"gpt_neox.layers.{}.post_attention_layernorm", "blk.{}.ffn_norm"},
    .qkv = {"gpt_neox.layers.{}.attention.query_key_value", "blk.{}.attn_qkv"},
    .output = {"gpt_neox.layers.{}.attention.dense", "blk.{}.attn_output"},
    .up = {"gpt_neox.layers.{}.mlp.dense_h_to_4h", "blk.{}.ffn_up"},
    .down = {"gpt_neox.layers.{}.mlp.dense_4h_to_h", "blk.{}.ffn_down"}};
constexpr auto kNorms = fused_tensors::Norms(kNames);
constexpr auto kLinears = fused_tensors::Linears(
    kNames, RowOrder::kQkvByGroup, /*attention=*/Bias::kAttention, /*mlp=*/Bias::kAlways);
constexpr auto kGroups = fused_tensors::Groups(kNames);

ModelConfig ConfigFromHf(const JsonFields& fields) {
  RequireFullAttention(fields);
  ModelConfig config;
  config.norm = NormKind::kLayer;
  config.gated_mlp = false;
  config.parallel_residual = fields.BoolOr("use_parallel_residual", true);
  config.layers = fields.Int("num_hidden_layers", 1, kMaxInt);
  config.hidden = fields.Int("hidden_size", 1, kMaxInt);
  config.heads = fields.Int("num_attention_heads", 1, kMaxInt);
  config.kv_heads = config.heads;
  config.head_dim = DefaultHeadDim(fields, "hidden_size", config);
  if (const int64_t dim = fields.IntOr("head_dim", config.head_dim, 1, kMaxInt);
      dim != config.head_dim) {
    throw Error("{}: head_dim: expected {}, found {}", fields.where(), config.head_dim, dim);
  }
  config.mlp = fields.Int("intermediate_size", 1, kMaxInt);
  config.vocab = fields.Int("vocab_size", 1, kMaxInt);
  config.max_positions = fields.IntOr("max_position_embeddings", 2048, 1, kMaxInt);
  config.norm_epsilon = fields.DoubleOr("layer_norm_eps", 1e-5);
  config.activation = ReadActivation(fields, "hidden_act", "gelu");
  ReadRope(fields, {.theta = "rotary_emb_base", .share = "rotary_pct", .default_share = 0.25},
           config);
  config.attention_bias = fields.BoolOr("attention_bias", true);
  config.tied_head = fields.BoolOr("tie_word_embeddings", false);
  return config;
}

ModelConfig ConfigFromGguf(const JsonFields& fields) {
  ModelConfig config = ReadGgufDimensions(fields, "gptneox");
  RequireEqualHeads(fields, "gptneox", config);
  config.norm = NormKind::kLayer;
  config.norm_epsilon = fields.Double("gptneox.attention.layer_norm_epsilon");
  config.gated_mlp = false;
  config.activation = Activation::kGelu;
  config.parallel_residual = fields.BoolOr("gptneox.use_parallel_residual", true);
  ReadGgufRope(fields, "gptneox", config);
  return config;
}

Json ConfigToHf(const ModelConfig& config) {
  return {
      {"num_hidden_layers", config.layers},
      {"hidden_size", config.hidden},
      {"num_attention_heads", config.heads},
      {"intermediate_size", config.mlp},
      {"max_position_embeddings", config.max_positions},
      {"layer_norm_eps", config.norm_epsilon},
      {"hidden_act", "gelu"},
      {"use_parallel_residual", config.parallel_residual},
      {"rotary_pct", static_cast<double>(config.rotary) / static_cast<double>(config.head_dim)},
      {"rotary_emb_base", config.rope.theta},
      {"attention_bias", config.attention_bias},
  };
}

}  // namespace

extern const ArchSpec kGptNeoxArch;
const ArchSpec kGptNeoxArch = {
    .name = "gpt_neox",
    .gguf_name = "gptneox",
    .hf_class = "GPTNeoXForCausalLM",
    .embedding = {"gpt_neox.embed_in", "token_embd"},
    .final_norm = {"gpt_neox.final_layer_norm", "output_norm"},
    .head = {"embed_out", "output"},
    .norms = kNorms,
    .linears = kLinears,
    .equalization_groups = kGroups,
    .config_from_hf = ConfigFromHf,
    .config_from_gguf = ConfigFromGguf,
    .config_to_hf = ConfigToHf,
};

}  // namespace fptq
