// LLaMA and what shares its shape: RMSNorm, rotary embeddings, grouped-query attention, gated SiLU
// MLP.
#include "base/error.h"
#include "model/arch/arch.h"

namespace fptq {
namespace {

constexpr int64_t kMaxInt = int64_t{1} << 40;  // real bounds: Validate()

int64_t QueryChannels(const ModelConfig& config) { return config.query_width(); }
int64_t KvChannels(const ModelConfig& config) { return config.kv_width(); }
int64_t HiddenChannels(const ModelConfig& config) { return config.hidden; }
int64_t MlpChannels(const ModelConfig& config) { return config.mlp; }

constexpr TensorNames kAttnNorm = {"model.layers.{}.input_layernorm.weight",
                                   "blk.{}.attn_norm.weight"};
constexpr TensorNames kMlpNorm = {"model.layers.{}.post_attention_layernorm.weight",
                                  "blk.{}.ffn_norm.weight"};

constexpr TensorNames kVProj = {"model.layers.{}.self_attn.v_proj", "blk.{}.attn_v"};
constexpr TensorNames kUpProj = {"model.layers.{}.mlp.up_proj", "blk.{}.ffn_up"};

constexpr LinearSpec kLinears[] = {
    {ActSite::kAttnIn,
     {"model.layers.{}.self_attn.q_proj", "blk.{}.attn_q"},
     RowOrder::kGgufRotaryPairs,
     QueryChannels},
    {ActSite::kAttnIn,
     {"model.layers.{}.self_attn.k_proj", "blk.{}.attn_k"},
     RowOrder::kGgufRotaryPairs,
     KvChannels},
    {ActSite::kAttnIn, kVProj, RowOrder::kAsIs, KvChannels},
    {ActSite::kAttnOut,
     {"model.layers.{}.self_attn.o_proj", "blk.{}.attn_output"},
     RowOrder::kAsIs,
     HiddenChannels},
    {ActSite::kMlpIn,
     {"model.layers.{}.mlp.gate_proj", "blk.{}.ffn_gate"},
     RowOrder::kAsIs,
     MlpChannels},
    {ActSite::kMlpIn, kUpProj, RowOrder::kAsIs, MlpChannels},
    {ActSite::kMlpMid,
     {"model.layers.{}.mlp.down_proj", "blk.{}.ffn_down"},
     RowOrder::kAsIs,
     HiddenChannels},
};

constexpr EqualizationGroup kEqualizationGroups[] = {
    {ActSite::kAttnIn, Producer::kNorm, kAttnNorm},
    {ActSite::kMlpIn, Producer::kNorm, kMlpNorm},
    {ActSite::kAttnOut, Producer::kLinear, kVProj},
    {ActSite::kMlpMid, Producer::kLinear, kUpProj},  // silu(gate) * up is linear in up
};

// Rope scaling changes the result, so what we do not implement must not pass silently.
void RequirePlainRope(const Json& scaling, std::string_view where) {
  if (!scaling.is_object())
    throw Error("{}: rope scaling: expected an object, found {}", where, scaling.type_name());
  for (const char* field : {"rope_type", "type"}) {
    if (scaling.contains(field) && scaling[field] != "default") {
      throw Error("{}: rope scaling: expected type \"default\", found {}", where,
                  scaling[field].dump());
    }
  }
}

// transformers 5 keeps rope_theta in rope_parameters; before it stood beside rope_scaling.
double RopeTheta(const JsonFields& config) {
  if (config.Has("rope_scaling")) RequirePlainRope(config.Object("rope_scaling"), config.where());
  if (!config.Has("rope_parameters")) return config.DoubleOr("rope_theta", 10000.0);
  const Json& parameters = config.Object("rope_parameters");
  RequirePlainRope(parameters, config.where());
  return JsonFields(parameters, config.where() + ": rope_parameters")
      .DoubleOr("rope_theta", config.DoubleOr("rope_theta", 10000.0));
}

ModelConfig ConfigFromHf(const JsonFields& fields) {
  if (const std::string act = fields.StringOr("hidden_act", "silu"); act != "silu") {
    throw Error("{}: hidden_act: expected \"silu\", found \"{}\"", fields.where(), act);
  }
  ModelConfig config;
  config.layers = fields.Int("num_hidden_layers", 0, kMaxInt);
  config.hidden = fields.Int("hidden_size", 0, kMaxInt);
  config.heads = fields.Int("num_attention_heads", 1, kMaxInt);
  config.kv_heads = fields.IntOr("num_key_value_heads", config.heads, 0, kMaxInt);
  if (!fields.Has("head_dim") && config.hidden % config.heads != 0) {
    throw Error("{}: hidden_size: expected a multiple of the {} attention heads, found {}",
                fields.where(), config.heads, config.hidden);
  }
  config.head_dim = fields.IntOr("head_dim", config.hidden / config.heads, 0, kMaxInt);
  config.mlp = fields.Int("intermediate_size", 0, kMaxInt);
  config.vocab = fields.Int("vocab_size", 0, kMaxInt);
  config.max_positions = fields.IntOr("max_position_embeddings", 2048, 0, kMaxInt);
  config.norm_epsilon = fields.DoubleOr("rms_norm_eps", 1e-6);
  config.rope_theta = RopeTheta(fields);
  config.tied_head = fields.BoolOr("tie_word_embeddings", false);
  return config;
}

ModelConfig ConfigFromGguf(const JsonFields& fields) {
  if (fields.Has("llama.rope.scaling.type") && fields.String("llama.rope.scaling.type") != "none") {
    throw Error("{}: llama.rope.scaling.type: expected \"none\", found \"{}\"", fields.where(),
                fields.String("llama.rope.scaling.type"));
  }
  ModelConfig config;
  config.layers = fields.Int("llama.block_count", 0, kMaxInt);
  config.hidden = fields.Int("llama.embedding_length", 0, kMaxInt);
  config.heads = fields.Int("llama.attention.head_count", 1, kMaxInt);
  config.kv_heads = fields.IntOr("llama.attention.head_count_kv", config.heads, 0, kMaxInt);
  if (!fields.Has("llama.attention.key_length") && config.hidden % config.heads != 0) {
    throw Error(
        "{}: llama.embedding_length: expected a multiple of the {} attention heads, found {}",
        fields.where(), config.heads, config.hidden);
  }
  config.head_dim =
      fields.IntOr("llama.attention.key_length", config.hidden / config.heads, 0, kMaxInt);
  const int64_t rotary = fields.IntOr("llama.rope.dimension_count", config.head_dim, 0, kMaxInt);
  if (rotary != config.head_dim) {
    throw Error("{}: llama.rope.dimension_count: expected the head dimension {}, found {}",
                fields.where(), config.head_dim, rotary);
  }
  config.mlp = fields.Int("llama.feed_forward_length", 0, kMaxInt);
  config.max_positions = fields.Int("llama.context_length", 0, kMaxInt);
  config.norm_epsilon = fields.Double("llama.attention.layer_norm_rms_epsilon");
  config.rope_theta = fields.DoubleOr("llama.rope.freq_base", 10000.0);
  return config;
}

Json ConfigToHf(const ModelConfig& config) {
  return {
      {"hidden_act", "silu"},
      {"hidden_size", config.hidden},
      {"intermediate_size", config.mlp},
      {"num_hidden_layers", config.layers},
      {"num_attention_heads", config.heads},
      {"num_key_value_heads", config.kv_heads},
      {"head_dim", config.head_dim},
      {"max_position_embeddings", config.max_positions},
      {"rms_norm_eps", config.norm_epsilon},
      {"rope_theta", config.rope_theta},
      {"attention_bias", false},
      {"mlp_bias", false},
  };
}

}  // namespace

extern const ArchSpec kLlamaArch;
const ArchSpec kLlamaArch = {
    .name = "llama",
    .hf_class = "LlamaForCausalLM",
    .embedding = {"model.embed_tokens.weight", "token_embd.weight"},
    .final_norm = {"model.norm.weight", "output_norm.weight"},
    .attn_norm = kAttnNorm,
    .mlp_norm = kMlpNorm,
    .head = {"lm_head", "output"},
    .linears = kLinears,
    .equalization_groups = kEqualizationGroups,
    .config_from_hf = ConfigFromHf,
    .config_from_gguf = ConfigFromGguf,
    .config_to_hf = ConfigToHf,
};

}  // namespace fptq
