// Phi-3 and Phi-4: LLaMA with one linear for q, k and v and one for gate and up, with longrope for
// long contexts; some rotate a part of each head.
#include "base/error.h"
#include "model/arch/gguf_config.h"
#include "model/arch/llama_tensors.h"

namespace fptq {
namespace {

constexpr TensorNames kQkv = {"model.layers.{}.self_attn.qkv_proj", "blk.{}.attn_qkv"};
constexpr TensorNames kGateUp = {"model.layers.{}.mlp.gate_up_proj", "blk.{}.ffn_up"};

constexpr LinearSpec kLinears[] = {
    {ActSite::kAttnIn, kQkv, RowOrder::kAsIs, QkvChannels, Bias::kNone},
    {ActSite::kAttnOut,
     {"model.layers.{}.self_attn.o_proj", "blk.{}.attn_output"},
     RowOrder::kAsIs,
     HiddenChannels,
     Bias::kNone},
    {ActSite::kMlpIn, kGateUp, RowOrder::kAsIs, GateUpChannels, Bias::kNone},
    {ActSite::kMlpMid,
     {"model.layers.{}.mlp.down_proj", "blk.{}.ffn_down"},
     RowOrder::kAsIs,
     HiddenChannels,
     Bias::kNone},
};

constexpr EqualizationGroup kEqualizationGroups[] = {
    {ActSite::kAttnIn, Producer::kNorm, llama_tensors::kAttnNorm},
    {ActSite::kMlpIn, Producer::kNorm, llama_tensors::kMlpNorm},
    {ActSite::kAttnOut, Producer::kLinear, kQkv, FirstOfV},
    {ActSite::kMlpMid, Producer::kLinear, kGateUp, FirstOfUp},
};

constexpr std::string_view kReadFields[] = {"attention.sliding_window", "rope.scaling.attn_factor"};

ModelConfig ConfigFromHf(const JsonFields& fields) {
  ModelConfig config = LlamaDimensionsFromHf(fields, {.max_positions = 4096});
  config.norm_epsilon = fields.DoubleOr("rms_norm_eps", 1e-5);
  ReadRope(fields, {}, config);
  ReadWindows(fields, ReadWindow(fields, /*otherwise=*/0), /*first=*/0, config);
  return config;
}

ModelConfig ConfigFromGguf(const JsonFields& fields) {
  ModelConfig config = LlamaDimensionsFromGguf(fields, "phi3");
  // Of transformers, whose files these were; llama.cpp leaves it out, with a warning.
  const int64_t window = fields.IntOr(GgufKey("phi3", "attention.sliding_window"), 0, 0, kMaxInt);
  ReadWindows(fields, window, /*first=*/0, config);
  return config;
}

Json ConfigToHf(const ModelConfig& config) {
  Json json = LlamaConfigToHf(config);
  json.erase("head_dim");  // hidden / heads
  json["partial_rotary_factor"] =
      static_cast<double>(config.rotary) / static_cast<double>(config.head_dim);
  json["sliding_window"] = config.windows.empty() ? Json() : Json(config.windows[0]);
  if (config.rope.scaling.kind == RopeScaling::Kind::kFactors) {
    json["original_max_position_embeddings"] = config.rope.scaling.original_positions;
  }
  return json;
}

}  // namespace

extern const ArchSpec kPhi3Arch;
constinit const ArchSpec kPhi3Arch = llama_tensors::Relative({
    .name = "phi3",
    .hf_class = "Phi3ForCausalLM",
    .linears = kLinears,
    .equalization_groups = kEqualizationGroups,
    .read_fields = kReadFields,
    .config_from_hf = ConfigFromHf,
    .config_from_gguf = ConfigFromGguf,
    .config_to_hf = ConfigToHf,
});

}  // namespace fptq
