// OPT: learned positions, LayerNorm, a ReLU MLP. llama.cpp has none of it.
#include "base/error.h"
#include "model/arch/common.h"

namespace fptq {
namespace {

constexpr TensorNames kAttnNorm = {"model.decoder.layers.{}.self_attn_layer_norm", ""};
constexpr TensorNames kMlpNorm = {"model.decoder.layers.{}.final_layer_norm", ""};
constexpr TensorNames kVProj = {"model.decoder.layers.{}.self_attn.v_proj", ""};
constexpr TensorNames kFc1 = {"model.decoder.layers.{}.fc1", ""};

constexpr NormSpec kNorms[] = {
    {NormRole::kAttn, kAttnNorm, HiddenChannels},
    {NormRole::kMlp, kMlpNorm, HiddenChannels},
};

constexpr LinearSpec kLinears[] = {
    {ActSite::kAttnIn,
     {"model.decoder.layers.{}.self_attn.q_proj", ""},
     RowOrder::kAsIs,
     QueryChannels,
     Bias::kAttention},
    {ActSite::kAttnIn,
     {"model.decoder.layers.{}.self_attn.k_proj", ""},
     RowOrder::kAsIs,
     KvChannels,
     Bias::kAttention},
    {ActSite::kAttnIn, kVProj, RowOrder::kAsIs, KvChannels, Bias::kAttention},
    {ActSite::kAttnOut,
     {"model.decoder.layers.{}.self_attn.out_proj", ""},
     RowOrder::kAsIs,
     HiddenChannels,
     Bias::kAttention},
    {ActSite::kMlpIn, kFc1, RowOrder::kAsIs, MlpChannels, Bias::kMlp},
    {ActSite::kMlpMid,
     {"model.decoder.layers.{}.fc2", ""},
     RowOrder::kAsIs,
     HiddenChannels,
     Bias::kMlp},
};

constexpr EqualizationGroup kEqualizationGroups[] = {
    {ActSite::kAttnIn, Producer::kNorm, kAttnNorm},
    {ActSite::kMlpIn, Producer::kNorm, kMlpNorm},
    {ActSite::kAttnOut, Producer::kLinear, kVProj},
    {ActSite::kMlpMid, Producer::kLinear, kFc1},  // relu(x / s) = relu(x) / s
};

ModelConfig ConfigFromHf(const JsonFields& fields) {
  RequireBool(fields, "do_layer_norm_before", true);
  RequireBool(fields, "layer_norm_elementwise_affine", true);
  RequireBool(fields, "_remove_final_layer_norm", false);
  RequireFullAttention(fields);
  // The group of kMlpMid holds for it alone.
  if (const std::string act = fields.StringOr("activation_function", "relu"); act != "relu") {
    throw Error("{}: activation_function: expected relu, found '{}'", fields.where(), act);
  }
  ModelConfig config;
  config.norm = NormKind::kLayer;
  config.norm_epsilon = 1e-5;
  config.activation = Activation::kRelu;
  config.gated_mlp = false;
  config.position_offset = 2;
  config.attention_bias = config.mlp_bias = fields.BoolOr("enable_bias", true);
  config.layers = fields.Int("num_hidden_layers", 1, kMaxInt);
  config.hidden = fields.Int("hidden_size", 1, kMaxInt);
  config.heads = fields.Int("num_attention_heads", 1, kMaxInt);
  config.kv_heads = config.heads;
  config.head_dim = DefaultHeadDim(fields, "hidden_size", config);
  config.mlp = fields.Int("ffn_dim", 1, kMaxInt);
  config.vocab = fields.Int("vocab_size", 1, kMaxInt);
  config.max_positions = fields.IntOr("max_position_embeddings", 2048, 1, kMaxInt);
  config.tied_head = fields.BoolOr("tie_word_embeddings", true);
  if (const int64_t width = fields.IntOr("word_embed_proj_dim", config.hidden, 1, kMaxInt);
      width != config.hidden) {
    throw Error("{}: word_embed_proj_dim: expected hidden_size {}, found {}", fields.where(),
                config.hidden, width);
  }
  return config;
}

}  // namespace

extern const ArchSpec kOptArch;
const ArchSpec kOptArch = {
    .name = "opt",
    .hf_class = "OPTForCausalLM",
    .embedding = {"model.decoder.embed_tokens", ""},
    .positions = {"model.decoder.embed_positions", ""},
    .final_norm = {"model.decoder.final_layer_norm", ""},
    .head = {"lm_head", ""},
    .norms = kNorms,
    .linears = kLinears,
    .equalization_groups = kEqualizationGroups,
    .config_from_hf = ConfigFromHf,
};

}  // namespace fptq
