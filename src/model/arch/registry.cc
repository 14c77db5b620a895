#include <fmt/ranges.h>

#include <algorithm>
#include <vector>

#include "base/error.h"
#include "model/arch/arch.h"
#include "model/arch/gguf_config.h"

namespace fptq {

extern const ArchSpec kBloomArch;
extern const ArchSpec kFalconArch;
extern const ArchSpec kGemma2Arch;
extern const ArchSpec kGemma3Arch;
extern const ArchSpec kGpt2Arch;
extern const ArchSpec kGptNeoxArch;
extern const ArchSpec kGraniteArch;
extern const ArchSpec kLlamaArch;
extern const ArchSpec kMistralArch;
extern const ArchSpec kMixtralArch;
extern const ArchSpec kOlmo2Arch;
extern const ArchSpec kOptArch;
extern const ArchSpec kPhi3Arch;
extern const ArchSpec kQwen2Arch;
extern const ArchSpec kQwen2MoeArch;
extern const ArchSpec kQwen3Arch;
extern const ArchSpec kQwen3MoeArch;
extern const ArchSpec kSmolLm3Arch;

namespace {

const ArchSpec* const kArchs[] = {
    &kBloomArch,     // one a line
    &kFalconArch,    //
    &kGemma2Arch,    //
    &kGemma3Arch,    //
    &kGpt2Arch,      //
    &kGptNeoxArch,   //
    &kGraniteArch,   //
    &kLlamaArch,     //
    &kMistralArch,   //
    &kMixtralArch,   //
    &kOlmo2Arch,     //
    &kOptArch,       //
    &kPhi3Arch,      //
    &kQwen2Arch,     //
    &kQwen2MoeArch,  //
    &kQwen3Arch,     //
    &kQwen3MoeArch,  //
    &kSmolLm3Arch,   //
};

// Of two with the same name the one with experts if `has_experts`.
const ArchSpec& Find(std::string_view ArchSpec::*field, std::string_view name, bool has_experts,
                     std::string_view where) {
  std::vector<std::string_view> names;
  const ArchSpec* found = nullptr;
  for (const ArchSpec* arch : kArchs) {
    if ((arch->*field).empty()) continue;
    const bool is_better = found == nullptr || arch->router.empty() != has_experts;
    if (arch->*field == name && is_better) found = arch;
    if (std::ranges::find(names, arch->*field) == names.end()) names.push_back(arch->*field);
  }
  if (found != nullptr) return *found;
  throw Error("{}: architecture '{}' is not supported; supported: {}", where, name,
              fmt::join(names, ", "));
}

}  // namespace

std::span<const ArchSpec* const> AllArchs() { return kArchs; }

const ArchSpec& FindArch(std::string_view name, std::string_view where) {
  return Find(&ArchSpec::name, name, /*has_experts=*/false, where);
}

const ArchSpec& FindGgufArch(const JsonFields& metadata) {
  const std::string name = metadata.String("general.architecture");
  const int64_t experts = metadata.IntOr(GgufKey(name, "expert_count"), 0, 0, kMaxInt);
  return Find(&ArchSpec::gguf_name, name, experts > 0, metadata.where());
}

ModelConfig ReadHfConfig(const JsonFields& json) {
  const ArchSpec& arch = FindArch(json.String("model_type"), json.where());
  ModelConfig config = arch.config_from_hf(json);
  if (config.arch == nullptr) config.arch = &arch;
  return config;
}

ModelConfig ReadGgufConfig(const JsonFields& metadata) {
  const ArchSpec& arch = FindGgufArch(metadata);
  ModelConfig config = arch.config_from_gguf(metadata);
  if (config.arch == nullptr) config.arch = &arch;
  return config;
}

int64_t QkvGroups::Row(int64_t channels, int64_t channel) const {
  if (head_dim == 0) return channel;
  const int64_t heads_of_group = queries + 2;  // its k and v are the last ones
  const int64_t groups = channels / (heads_of_group * head_dim);
  const int64_t head = channel / head_dim, kv_head = head - groups * queries;
  const int64_t row_head = kv_head < 0
                               ? head / queries * heads_of_group + head % queries
                               : kv_head % groups * heads_of_group + queries + kv_head / groups;
  return row_head * head_dim + channel % head_dim;
}

QkvGroups QkvGroupsOf(const LinearSpec& linear, const ModelConfig& config) {
  if (linear.row_order != RowOrder::kQkvByGroup) return {};
  return {.queries = config.heads / config.kv_heads, .head_dim = config.head_dim};
}

bool HasBias(const LinearSpec& linear, const ModelConfig& config) {
  switch (linear.bias) {
    case Bias::kNone:
      return false;
    case Bias::kAlways:
      return true;
    case Bias::kAttention:
      return config.attention_bias;
    case Bias::kMlp:
      return config.mlp_bias;
  }
  return false;
}

namespace {

bool IsOfMlp(ActSite site) { return site == ActSite::kMlpIn || site == ActSite::kMlpMid; }

}  // namespace

SiteId LayerLinear::site() const {
  return spec->site == ActSite::kMlpMid ? SiteId(spec->site, mlp) : SiteId(spec->site);
}

std::vector<LayerLinear> LinearsOf(const ModelConfig& config, int64_t layer) {
  std::vector<LayerLinear> linears;
  for (const LinearSpec& spec : config.arch->linears) {
    if (!IsOfMlp(spec.site)) linears.push_back({&spec, layer, {}});
  }
  for (const MlpId mlp : MlpsOf(config, layer)) {
    for (const LinearSpec& spec : config.arch->linears) {
      if (IsOfMlp(spec.site) && spec.mlp == mlp.kind) linears.push_back({&spec, layer, mlp});
    }
  }
  return linears;
}

std::vector<FloatLinearSpec> FloatLinearsOf(const ModelConfig& config, int64_t layer) {
  std::vector<FloatLinearSpec> specs;
  if (!config.is_mixture(layer)) return specs;
  specs.push_back({config.arch->router, config.mixture.experts});
  if (config.mixture.shared_width > 0) specs.push_back({config.arch->shared_gate, 1});
  return specs;
}

std::vector<LayerLinear> LinearsOf(const ModelConfig& config, int64_t layer, ActSite role,
                                   MlpId mlp) {
  std::vector<LayerLinear> linears;
  for (const LinearSpec& spec : config.arch->linears) {
    if (spec.site == role && spec.mlp == mlp.kind) linears.push_back({&spec, layer, mlp});
  }
  return linears;
}

namespace {

// `experts`: how many of them count.
int64_t CountWeights(const ModelConfig& config, int64_t layer, int64_t experts) {
  int64_t weights = 0;
  for (const LayerLinear& linear : LinearsOf(config, layer)) {
    if (linear.mlp.expert < experts || linear.mlp.kind != MlpKind::kExpert) {
      weights += linear.channels(config) * linear.k(config);
    }
  }
  return weights;
}

}  // namespace

int64_t WeightsOf(const ModelConfig& config, int64_t layer) {
  return CountWeights(config, layer, config.mixture.experts);
}

int64_t ActiveWeightsOf(const ModelConfig& config, int64_t layer) {
  return CountWeights(config, layer, config.mixture.active);
}

const EqualizationGroup* FindEqualization(const ModelConfig& config, int64_t layer,
                                          const SiteId& site) {
  if (site.role == ActSite::kMlpIn && config.is_mixture(layer)) return nullptr;
  for (const EqualizationGroup& group : config.arch->equalization_groups) {
    if (group.site == site.role && group.mlp == site.mlp.kind) return &group;
  }
  return nullptr;
}

}  // namespace fptq
