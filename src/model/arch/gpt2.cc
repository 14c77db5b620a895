// GPT-2: learned positions, GELU by tanh, one linear for q, k and v. Its linears are of a class of
// their own, Conv1D, which stores weights as [K, N].
#include "base/error.h"
#include "model/arch/fused_tensors.h"
#include "model/arch/gguf_config.h"

namespace fptq {
namespace {

constexpr fused_tensors::Names kNames = {
    .attn_norm = {"transformer.h.{}.ln_1", "blk.{}.attn_norm"},
    .mlp_norm = {"transformer.h.{}.ln_2", "blk.{}.ffn_norm"},
    .qkv = {"transformer.h.{}.attn.c_attn", "blk.{}.attn_qkv"},
    .output = {"transformer.h.{}.attn.c_proj", "blk.{}.attn_output"},
    .up = {"transformer.h.{}.mlp.c_fc", "blk.{}.ffn_up"},
    .down = {"transformer.h.{}.mlp.c_proj", "blk.{}.ffn_down"}};
constexpr auto kNorms = fused_tensors::Norms(kNames);
constexpr auto kLinears =
    fused_tensors::Linears(kNames, RowOrder::kAsIs, Bias::kAlways, Bias::kAlways);
constexpr auto kGroups = fused_tensors::Groups(kNames);

ModelConfig ConfigFromHf(const JsonFields& fields) {
  RequireFullAttention(fields);
  RequireBool(fields, "add_cross_attention", false);
  RequireBool(fields, "scale_attn_by_inverse_layer_idx", false);
  // reorder_and_upcast_attn changes roundings alone.
  ModelConfig config;
  config.norm = NormKind::kLayer;
  config.gated_mlp = false;
  config.layers = fields.Int(EitherName(fields, "n_layer", "num_hidden_layers"), 1, kMaxInt);
  config.hidden = fields.Int(EitherName(fields, "n_embd", "hidden_size"), 1, kMaxInt);
  config.heads = fields.Int(EitherName(fields, "n_head", "num_attention_heads"), 1, kMaxInt);
  config.kv_heads = config.heads;
  config.head_dim = DefaultHeadDim(fields, "n_embd", config);
  config.mlp = fields.IntOr("n_inner", 4 * config.hidden, 1, kMaxInt);
  config.vocab = fields.Int("vocab_size", 1, kMaxInt);
  config.max_positions =
      fields.IntOr(EitherName(fields, "n_positions", "max_position_embeddings"), 1024, 1, kMaxInt);
  config.norm_epsilon = fields.DoubleOr("layer_norm_epsilon", 1e-5);
  config.activation = ReadActivation(fields, "activation_function", "gelu_new");
  if (!fields.BoolOr("scale_attn_weights", true)) config.attention_scale = 1;
  config.tied_head = fields.BoolOr("tie_word_embeddings", true);
  return config;
}

ModelConfig ConfigFromGguf(const JsonFields& fields) {
  ModelConfig config = ReadGgufDimensions(fields, "gpt2");
  RequireEqualHeads(fields, "gpt2", config);
  RequireBool(fields, "gpt2.use_parallel_residual", false);
  config.norm = NormKind::kLayer;
  config.norm_epsilon = fields.Double("gpt2.attention.layer_norm_epsilon");
  config.gated_mlp = false;
  config.activation = Activation::kGeluTanh;
  return config;
}

Json ConfigToHf(const ModelConfig& config) {
  return {
      {"n_layer", config.layers},
      {"n_embd", config.hidden},
      {"n_head", config.heads},
      {"n_inner", config.mlp},
      {"n_positions", config.max_positions},
      {"layer_norm_epsilon", config.norm_epsilon},
      {"activation_function", "gelu_new"},
  };
}

}  // namespace

extern const ArchSpec kGpt2Arch;
const ArchSpec kGpt2Arch = {
    .name = "gpt2",
    .gguf_name = "gpt2",
    .hf_class = "GPT2LMHeadModel",
    .embedding = {"transformer.wte", "token_embd"},
    .positions = {"transformer.wpe", "position_embd"},
    .final_norm = {"transformer.ln_f", "output_norm"},
    .head = {"lm_head", "output"},
    .norms = kNorms,
    .linears = kLinears,
    .equalization_groups = kGroups,
    .transposed_weights = true,
    .transformers_obstacle =
        "compressed-tensors there quantizes Linear and Embedding, and the linears of "
        "GPT-2 are of the class Conv1D",
    .config_from_hf = ConfigFromHf,
    .config_from_gguf = ConfigFromGguf,
    .config_to_hf = ConfigToHf,
};

}  // namespace fptq
