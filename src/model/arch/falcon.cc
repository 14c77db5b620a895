// Falcon: one linear for q, k and v, whose rows stand by KV head. Its models differ in their norms:
// attention and MLP side by side share one (7B, 11B) or have one each (40B, 180B), or the MLP comes
// after attention (RW-1B, with ALiBi in place of rotary embeddings).
#include <cmath>

#include "base/error.h"
#include "io/checkpoint.h"
#include "model/arch/fused_tensors.h"
#include "model/arch/gguf_config.h"

namespace fptq {

extern const ArchSpec kFalconArch;

namespace {

constexpr fused_tensors::Names Names(const TensorNames& attn_norm, const TensorNames& mlp_norm) {
  return {.attn_norm = attn_norm,
          .mlp_norm = mlp_norm,
          .qkv = {"transformer.h.{}.self_attention.query_key_value", "blk.{}.attn_qkv"},
          .output = {"transformer.h.{}.self_attention.dense", "blk.{}.attn_output"},
          .up = {"transformer.h.{}.mlp.dense_h_to_4h", "blk.{}.ffn_up"},
          .down = {"transformer.h.{}.mlp.dense_4h_to_h", "blk.{}.ffn_down"}};
}

constexpr TensorNames kInputNorm = {"transformer.h.{}.input_layernorm", "blk.{}.attn_norm"};
constexpr auto kShared = Names(kInputNorm, {});
constexpr auto kTwo = Names({"transformer.h.{}.ln_attn", "blk.{}.attn_norm_2"},
                            {"transformer.h.{}.ln_mlp", "blk.{}.attn_norm"});
// llama.cpp has no such models.
constexpr auto kSequential =
    Names(kInputNorm, {"transformer.h.{}.post_attention_layernorm", "blk.{}.ffn_norm"});

constexpr NormSpec kSharedNorms[] = {{NormRole::kAttn, kInputNorm, HiddenChannels}};
constexpr auto kTwoNorms = fused_tensors::Norms(kTwo);
constexpr auto kSequentialNorms = fused_tensors::Norms(kSequential);

constexpr auto Linears(ActSite up_site) {
  return fused_tensors::Linears(kShared, RowOrder::kQkvByGroup, /*attention=*/Bias::kAttention,
                                /*mlp=*/Bias::kAttention, up_site);
}
constexpr auto kSharedLinears = Linears(ActSite::kAttnIn);
constexpr auto kLinears = Linears(ActSite::kMlpIn);

constexpr auto kSharedGroups = fused_tensors::Groups(kShared);
constexpr auto kTwoGroups = fused_tensors::Groups(kTwo);
constexpr auto kSequentialGroups = fused_tensors::Groups(kSequential);

extern const ArchSpec kTwoNormsArch, kSequentialArch;

enum class Layer { kSharedNorm, kOwnNorms, kAfterAttention };

void SetLayer(Layer layer, ModelConfig& config) {
  config.norm = NormKind::kLayer;
  config.gated_mlp = false;
  config.parallel_residual = layer != Layer::kAfterAttention;
  config.shared_norm = layer == Layer::kSharedNorm;
  switch (layer) {
    case Layer::kSharedNorm:
      config.arch = &kFalconArch;
      break;
    case Layer::kOwnNorms:
      config.arch = &kTwoNormsArch;
      break;
    case Layer::kAfterAttention:
      config.arch = &kSequentialArch;
      break;
  }
}

// `grouped`: that of 40B and what came after it.
Layer ReadLayer(const JsonFields& fields, bool grouped) {
  constexpr std::string_view kNorms = "num_ln_in_parallel_attn";
  if (grouped) RequireBool(fields, "parallel_attn", true);
  if (!fields.BoolOr("parallel_attn", true)) return Layer::kAfterAttention;
  const int64_t norms = fields.IntOr(kNorms, grouped ? 2 : 1, 1, 2);
  if (!grouped && norms != 1) {
    throw Error("{}: {}: expected 1, as new_decoder_architecture is false, found {}",
                fields.where(), kNorms, norms);
  }
  return norms == 1 ? Layer::kSharedNorm : Layer::kOwnNorms;
}

void ReadHeads(const JsonFields& fields, bool grouped, ModelConfig& config) {
  config.heads = fields.Int("num_attention_heads", 1, kMaxInt);
  config.head_dim = DefaultHeadDim(fields, "hidden_size", config);
  if (!grouped && fields.BoolOr("multi_query", true)) {
    config.kv_heads = 1;
    return;
  }
  config.kv_heads = fields.IntOr("num_kv_heads", config.heads, 1, kMaxInt);
  if (!grouped && config.kv_heads != config.heads) {
    throw Error(
        "{}: num_kv_heads: expected the {} attention heads, as multi_query is false, found {}",
        fields.where(), config.heads, config.kv_heads);
  }
}

ModelConfig ConfigFromHf(const JsonFields& fields) {
  RequireBool(fields, "apply_residual_connection_post_layernorm", false);
  RequireFullAttention(fields);
  const bool grouped = fields.BoolOr("new_decoder_architecture", false);
  ModelConfig config;
  SetLayer(ReadLayer(fields, grouped), config);
  config.layers = fields.Int("num_hidden_layers", 1, kMaxInt);
  config.hidden = fields.Int(EitherName(fields, "n_embed", "hidden_size"), 1, kMaxInt);
  ReadHeads(fields, grouped, config);
  config.mlp = fields.IntOr("ffn_hidden_size", 4 * config.hidden, 1, kMaxInt);
  config.vocab = fields.Int("vocab_size", 1, kMaxInt);
  config.max_positions = fields.IntOr("max_position_embeddings", 2048, 1, kMaxInt);
  config.norm_epsilon = fields.DoubleOr("layer_norm_epsilon", 1e-5);
  config.activation = ReadActivation(fields, "activation", "gelu");
  config.attention_bias = fields.BoolOr("bias", false);
  config.tied_head = fields.BoolOr("tie_word_embeddings", true);
  config.alibi = fields.BoolOr("alibi", false);
  if (config.alibi) {
    // transformers scales the biases with the scores, and rounds a slope times a position to
    // bfloat16, which this does not.
    config.alibi_scale = 1 / std::sqrt(static_cast<double>(config.head_dim));
  } else {
    ReadRopeOfWholeHeads(fields, {}, config);
  }
  return config;
}

ModelConfig ConfigFromGguf(const JsonFields& fields) {
  ModelConfig config = ReadGgufDimensions(fields, "falcon");
  SetLayer(Layer::kSharedNorm, config);  // or kOwnNorms: ReadGgufTensors
  RequireDefaultHeadDim(fields, "falcon", config);
  RequireBool(fields, "falcon.use_parallel_residual", true);
  // How the rows of q, k and v are stored.
  constexpr std::string_view kLayout = "jploski";
  if (const std::string key = "falcon.tensor_data_layout";
      fields.StringOr(key, kLayout) != kLayout) {
    throw Error("{}: {}: expected {}, found '{}'", fields.where(), key, kLayout,
                fields.String(key));
  }
  config.norm_epsilon = fields.Double("falcon.attention.layer_norm_epsilon");
  config.activation = Activation::kGelu;  // llama.cpp computes it by tanh
  ReadGgufRope(fields, "falcon", config);
  RequireWholeHeadsRotate(fields, "falcon", config);
  return config;
}

void ReadGgufTensors(const Checkpoint& checkpoint, ModelConfig& config) {
  if (checkpoint.Contains("blk.0.attn_norm_2.weight")) SetLayer(Layer::kOwnNorms, config);
}

// The layer of 40B with so many norms and KV heads is that of all others with rotary embeddings.
Json ConfigToHf(const ModelConfig& config) {
  Json json = {
      {"num_hidden_layers", config.layers},
      {"hidden_size", config.hidden},
      {"num_attention_heads", config.heads},
      {"num_kv_heads", config.kv_heads},
      {"new_decoder_architecture", true},
      {"num_ln_in_parallel_attn", config.shared_norm ? 1 : 2},
      {"parallel_attn", true},
      {"multi_query", true},
      {"alibi", false},
      {"bias", config.attention_bias},
      {"ffn_hidden_size", config.mlp},
      {"activation", "gelu"},
      {"max_position_embeddings", config.max_positions},
      {"layer_norm_epsilon", config.norm_epsilon},
      {"rope_theta", config.rope.theta},
  };
  if (config.rope.scaling.kind != RopeScaling::Kind::kNone) {
    json["rope_scaling"] = RopeScalingToHf(config.rope.scaling);
  }
  return json;
}

constexpr ArchSpec Arch(std::span<const NormSpec> norms, std::span<const LinearSpec> linears,
                        std::span<const EqualizationGroup> groups) {
  return {
      .name = "falcon",
      .gguf_name = "falcon",
      .hf_class = "FalconForCausalLM",
      .embedding = {"transformer.word_embeddings", "token_embd"},
      .final_norm = {"transformer.ln_f", "output_norm"},
      .head = {"lm_head", "output"},
      .norms = norms,
      .linears = linears,
      .equalization_groups = groups,
      .transformers_obstacle =
          "its Falcon, while it loads, looks for the float weights of all linears, "
          "which a quantized folder has not",
      .config_from_hf = ConfigFromHf,
      .config_from_gguf = ConfigFromGguf,
      .read_gguf_tensors = ReadGgufTensors,
      .config_to_hf = ConfigToHf,
  };
}

constinit const ArchSpec kTwoNormsArch = Arch(kTwoNorms, kLinears, kTwoGroups);
constinit const ArchSpec kSequentialArch = Arch(kSequentialNorms, kLinears, kSequentialGroups);

}  // namespace

constinit const ArchSpec kFalconArch = Arch(kSharedNorms, kSharedLinears, kSharedGroups);

}  // namespace fptq
