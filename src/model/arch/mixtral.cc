// Mixtral: Mistral whose MLPs are mixtures of experts. GGUF files of it say "llama".
#include "model/arch/mixture_tensors.h"

namespace fptq {
namespace {

constexpr llama_tensors::MlpNames kExpert = {
    {"model.layers.{}.block_sparse_moe.experts.{}.w1", "blk.{}.ffn_gate_exps"},
    {"model.layers.{}.block_sparse_moe.experts.{}.w3", "blk.{}.ffn_up_exps"},
    {"model.layers.{}.block_sparse_moe.experts.{}.w2", "blk.{}.ffn_down_exps"}};
constexpr auto kLinears = llama_tensors::Join(
    llama_tensors::AttentionLinears(RowOrder::kGgufRotaryPairs, Bias::kNone, Bias::kNone),
    mixture_tensors::ExpertLinears(kExpert));
constexpr auto kGroups = mixture_tensors::Groups(kExpert.up);

ModelConfig ConfigFromHf(const JsonFields& fields) {
  ModelConfig config =
      LlamaConfigFromHf(fields, {.kv_heads = 8, .max_positions = 131072, .rope_theta = 1000000});
  config.norm_epsilon = fields.DoubleOr("rms_norm_eps", 1e-5);
  ReadWindows(fields, ReadWindow(fields, /*otherwise=*/0), /*first=*/0, config);
  config.mixture = {.experts = fields.IntOr("num_local_experts", 8, 1, kMaxInt),
                    .active = fields.IntOr("num_experts_per_tok", 2, 1, kMaxInt),
                    .width = config.mlp,
                    .normalized = true,
                    .layers = {}};
  return config;
}

ModelConfig ConfigFromGguf(const JsonFields& fields) {
  ModelConfig config = LlamaConfigFromGguf(fields, "llama");
  config.mixture = mixture_tensors::MixtureFromGguf(fields, "llama");
  config.mixture.width = config.mlp;
  config.mixture.normalized = true;
  return config;
}

Json ConfigToHf(const ModelConfig& config) {
  Json json = LlamaConfigToHf(config);
  json.update({{"num_local_experts", config.mixture.experts},
               {"num_experts_per_tok", config.mixture.active},
               {"sliding_window", nullptr}});
  return json;
}

}  // namespace

extern const ArchSpec kMixtralArch;
constinit const ArchSpec kMixtralArch = mixture_tensors::Relative({
    .name = "mixtral",
    .gguf_name = "llama",
    .hf_class = "MixtralForCausalLM",
    .linears = kLinears,
    .equalization_groups = kGroups,
    .router = {"model.layers.{}.block_sparse_moe.gate", "blk.{}.ffn_gate_inp"},
    .config_from_hf = ConfigFromHf,
    .config_from_gguf = ConfigFromGguf,
    .config_to_hf = ConfigToHf,
});

}  // namespace fptq
