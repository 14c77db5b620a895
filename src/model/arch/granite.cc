// Granite: LLaMA with numbers that multiply the embedding, q . k, the residual branches and the
// logits.
#include "base/error.h"
#include "model/arch/gguf_config.h"
#include "model/arch/llama_tensors.h"

namespace fptq {
namespace {

constexpr auto kLinears =
    llama_tensors::Linears(RowOrder::kGgufRotaryPairs, /*qkv=*/Bias::kAttention,
                           /*output=*/Bias::kAttention, /*mlp=*/Bias::kMlp);

constexpr std::string_view kReadFields[] = {
    "embedding_multiplier", "attention_multiplier", "residual_multiplier", "logits_scaling",
    "embedding_scale",      "attention.scale",      "residual_scale",      "logit_scale",
};

// The logits are divided by it.
double LogitScale(double divisor) { return divisor == 0 ? 1 : 1 / divisor; }

ModelConfig ConfigFromHf(const JsonFields& fields) {
  RequireFullAttention(fields);
  ModelConfig config = LlamaConfigFromHf(fields, {});
  ReadBiases(fields, config);
  config.embedding_scale = fields.DoubleOr("embedding_multiplier", 1);
  config.attention_scale = fields.DoubleOr("attention_multiplier", 1);
  config.residual_scale = fields.DoubleOr("residual_multiplier", 1);
  config.logit_scale = LogitScale(fields.DoubleOr("logits_scaling", 1));
  return config;
}

ModelConfig ConfigFromGguf(const JsonFields& fields) {
  ModelConfig config = LlamaConfigFromGguf(fields, "granite");
  const auto scale = [&](std::string_view name, double otherwise) {
    const double value = fields.DoubleOr(GgufKey("granite", name), 0);
    return value == 0 ? otherwise : value;
  };
  config.embedding_scale = scale("embedding_scale", 1);
  config.attention_scale = scale("attention.scale", 0);
  config.residual_scale = scale("residual_scale", 1);
  config.logit_scale = LogitScale(scale("logit_scale", 1));
  return config;
}

Json ConfigToHf(const ModelConfig& config) {
  Json json = LlamaConfigToHf(config);
  WriteBiases(config, json);
  json["embedding_multiplier"] = config.embedding_scale;
  json["attention_multiplier"] = config.softmax_scale();
  json["residual_multiplier"] = config.residual_scale;
  json["logits_scaling"] = 1 / config.logit_scale;
  return json;
}

}  // namespace

extern const ArchSpec kGraniteArch;
constinit const ArchSpec kGraniteArch = llama_tensors::Relative({
    .name = "granite",
    .hf_class = "GraniteForCausalLM",
    .linears = kLinears,
    .read_fields = kReadFields,
    .config_from_hf = ConfigFromHf,
    .config_from_gguf = ConfigFromGguf,
    .config_to_hf = ConfigToHf,
});

}  // namespace fptq
