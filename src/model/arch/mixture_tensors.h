// What mixtures of experts among LLaMA's relatives have in common.
#pragma once

#include <array>

#include "model/arch/gguf_config.h"
#include "model/arch/llama_tensors.h"

namespace fptq::mixture_tensors {

// Qwen's names.
inline constexpr llama_tensors::MlpNames kExpert = {
    {"model.layers.{}.mlp.experts.{}.gate_proj", "blk.{}.ffn_gate_exps"},
    {"model.layers.{}.mlp.experts.{}.up_proj", "blk.{}.ffn_up_exps"},
    {"model.layers.{}.mlp.experts.{}.down_proj", "blk.{}.ffn_down_exps"}};
inline constexpr llama_tensors::MlpNames kShared = {
    {"model.layers.{}.mlp.shared_expert.gate_proj", "blk.{}.ffn_gate_shexp"},
    {"model.layers.{}.mlp.shared_expert.up_proj", "blk.{}.ffn_up_shexp"},
    {"model.layers.{}.mlp.shared_expert.down_proj", "blk.{}.ffn_down_shexp"}};
inline constexpr TensorNames kSharedGate = {"model.layers.{}.mlp.shared_expert_gate",
                                            "blk.{}.ffn_gate_inp_shexp"};
inline constexpr TensorNames kRouter = {"model.layers.{}.mlp.gate", "blk.{}.ffn_gate_inp"};

// LinearSpec::channels
constexpr int64_t ExpertChannels(const ModelConfig& config) { return config.mixture.width; }
constexpr int64_t SharedChannels(const ModelConfig& config) { return config.mixture.shared_width; }

constexpr std::array<LinearSpec, 3> ExpertLinears(const llama_tensors::MlpNames& names) {
  return llama_tensors::MlpLinears(names, MlpKind::kExpert, ExpertChannels, Bias::kNone);
}

// `expert_up`: what makes the input of an expert's down_proj.
constexpr std::array<EqualizationGroup, 6> Groups(const TensorNames& expert_up) {
  return {{
      {ActSite::kAttnIn, Producer::kNorm, llama_tensors::kAttnNorm},
      {ActSite::kMlpIn, Producer::kNorm, llama_tensors::kMlpNorm},
      {ActSite::kAttnOut, Producer::kLinear, llama_tensors::kVProj},
      {ActSite::kMlpMid, Producer::kLinear, llama_tensors::kUpProj},
      {ActSite::kMlpMid, Producer::kLinear, expert_up, nullptr, MlpKind::kExpert},
      {ActSite::kMlpMid, Producer::kLinear, kShared.up, nullptr, MlpKind::kShared},
  }};
}

// Of config.json: the fields of Qwen's models with mixtures, but for biases and the shared expert.
ModelConfig QwenConfigFromHf(const JsonFields& fields, const LlamaDefaults& defaults,
                             const Mixture& mixture);
Json QwenMixtureToHf(const ModelConfig& config);
// Of a GGUF file: all layers are mixtures.
Mixture MixtureFromGguf(const JsonFields& fields, std::string_view arch);

// The fields that unsupported_fields.cc refuses and these read.
inline constexpr std::string_view kReadFields[] = {"num_experts", "num_local_experts",
                                                   "expert_count", "expert_used_count"};

inline constexpr auto kGroups = Groups(kExpert.up);

// A relative of LLaMA with mixtures, Qwen's unless it has names of its own.
constexpr ArchSpec Relative(ArchSpec arch) {
  if (arch.equalization_groups.empty()) arch.equalization_groups = kGroups;
  if (arch.router.empty()) arch.router = kRouter;
  arch.read_fields = kReadFields;
  return llama_tensors::Relative(arch);
}

}  // namespace fptq::mixture_tensors
