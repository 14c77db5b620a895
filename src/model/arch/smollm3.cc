// SmolLM3: LLaMA some of whose layers do not rotate q and k.
#include <algorithm>

#include "base/error.h"
#include "model/arch/gguf_config.h"
#include "model/arch/llama_tensors.h"

namespace fptq {
namespace {

constexpr int64_t kInterval = 4;  // every which layer does not rotate

constexpr auto kLinears =
    llama_tensors::Linears(RowOrder::kGgufRotaryPairs, /*qkv=*/Bias::kAttention,
                           /*output=*/Bias::kAttention, /*mlp=*/Bias::kMlp);

constexpr std::string_view kReadFields[] = {"no_rope_layers"};

std::vector<bool> RotatedLayers(int64_t layers, int64_t interval) {
  std::vector<bool> rotated;
  for (int64_t layer = 0; layer < std::min(layers, kMaxLayers); ++layer) {
    rotated.push_back((layer + 1) % interval != 0);
  }
  return rotated;
}

ModelConfig ConfigFromHf(const JsonFields& fields) {
  RequireBool(fields, "use_sliding_window", false);
  ModelConfig config =
      LlamaConfigFromHf(fields, {.kv_heads = 4, .max_positions = 32768, .rope_theta = 2000000});
  config.tied_head = fields.BoolOr("tie_word_embeddings", true);
  ReadBiases(fields, config);
  config.rotated =
      RotatedLayers(config.layers, fields.IntOr("no_rope_layer_interval", kInterval, 1, kMaxInt));
  if (fields.Has("no_rope_layers")) {
    config.rotated.clear();
    for (const Json& rotates : fields.Array("no_rope_layers")) {
      if (rotates != 0 && rotates != 1) {
        throw Error("{}: no_rope_layers: expected 0 or 1, found {}", fields.where(),
                    rotates.dump());
      }
      config.rotated.push_back(rotates == 1);
    }
  }
  return config;
}

ModelConfig ConfigFromGguf(const JsonFields& fields) {
  ModelConfig config = LlamaConfigFromGguf(fields, "smollm3");
  config.rotated = RotatedLayers(config.layers, kInterval);
  return config;
}

Json ConfigToHf(const ModelConfig& config) {
  Json json = LlamaConfigToHf(config);
  WriteBiases(config, json);
  Json rotated = Json::array();
  for (const bool rotates : config.rotated) rotated.push_back(rotates ? 1 : 0);
  json["no_rope_layers"] = rotated;
  return json;
}

}  // namespace

extern const ArchSpec kSmolLm3Arch;
constinit const ArchSpec kSmolLm3Arch = llama_tensors::Relative({
    .name = "smollm3",
    .hf_class = "SmolLM3ForCausalLM",
    .linears = kLinears,
    .read_fields = kReadFields,
    .config_from_hf = ConfigFromHf,
    .config_from_gguf = ConfigFromGguf,
    .config_to_hf = ConfigToHf,
});

}  // namespace fptq
