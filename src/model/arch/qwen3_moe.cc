// Qwen3-MoE: Qwen3 with a mixture of experts.
#include "model/arch/mixture_tensors.h"

namespace fptq {
namespace {

constexpr auto kLinears =
    llama_tensors::Join(llama_tensors::Linears(RowOrder::kAsIs, /*qkv=*/Bias::kAttention,
                                               /*output=*/Bias::kAttention, /*mlp=*/Bias::kNone),
                        mixture_tensors::ExpertLinears(mixture_tensors::kExpert));
constexpr auto kGroups = mixture_tensors::Groups(mixture_tensors::kExpert.up);

ModelConfig ConfigFromHf(const JsonFields& fields) {
  RequireBool(fields, "use_sliding_window", false);
  ModelConfig config = QwenConfigFromHf(fields, {.kv_heads = 4, .max_positions = 32768});
  config.attention_bias = fields.BoolOr("attention_bias", false);
  config.mixture = mixture_tensors::QwenMixtureFromHf(
      fields, config, {.experts = 128, .active = 8, .width = 768, .layers = {}});
  return config;
}

Json ConfigToHf(const ModelConfig& config) {
  Json json = mixture_tensors::QwenMixtureToHf(config);
  json["attention_bias"] = config.attention_bias;
  return json;
}

ModelConfig ConfigFromGguf(const JsonFields& fields) {
  ModelConfig config = LlamaConfigFromGguf(fields, "qwen3moe");
  config.mixture = mixture_tensors::MixtureFromGguf(fields, "qwen3moe");
  config.mixture.normalized = true;
  return config;
}

}  // namespace

extern const ArchSpec kQwen3MoeArch;
constinit const ArchSpec kQwen3MoeArch = [] {
  ArchSpec arch = llama_tensors::Relative("qwen3_moe", "Qwen3MoeForCausalLM");
  arch.gguf_name = "qwen3moe";
  arch.norms = llama_tensors::kHeadNorms;
  arch.linears = kLinears;
  arch.equalization_groups = kGroups;
  arch.router = mixture_tensors::kRouter;
  arch.read_fields = mixture_tensors::kReadFields;
  arch.config_from_hf = ConfigFromHf;
  arch.config_from_gguf = ConfigFromGguf;
  arch.config_to_hf = ConfigToHf;
  return arch;
}();

}  // namespace fptq
