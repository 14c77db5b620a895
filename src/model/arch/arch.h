// An architecture as data. To add one: a file in this folder and a line in registry.cc.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

#include "base/json.h"
#include "model/config.h"

namespace fptq {

// Where an activation enters a linear; the unit that FPTQ decides on. The linears of a site (q, k,
// v; gate, up) have the same input and run as one matrix.
enum class ActSite { kAttnIn, kAttnOut, kMlpIn, kMlpMid };
inline constexpr int kActSites = 4;
inline constexpr std::array<ActSite, kActSites> kAllActSites = {ActSite::kAttnIn, ActSite::kAttnOut,
                                                                ActSite::kMlpIn, ActSite::kMlpMid};
std::string_view ActSiteName(ActSite site);  // "attn_in", "attn_out", "mlp_in", "mlp_mid"

// Names of tensors; "{}" stands for the layer. Norm names are whole tensor names, linears are
// modules (".weight", ".bias").
struct TensorNames {
  std::string_view hf;
  std::string_view gguf;
};

enum class RowOrder {
  kAsIs,
  kGgufRotaryPairs,  // in GGUF files the rows of each head are interleaved: (0, d/2, 1, d/2 + 1,
                     // ...)
};

// One linear of a layer. The rows of the table stand in the order in which a site's outputs are
// concatenated.
struct LinearSpec {
  ActSite site;
  TensorNames module;
  RowOrder row_order;
  int64_t (*channels)(const ModelConfig&);
};

// LAE and its like: divide the producer's output channels by s, multiply the input channels of the
// site's linears by it. The attention heads that share a KV head share the channels of v_proj.
enum class Producer { kNorm, kLinear };
struct EqualizationGroup {
  ActSite site;
  Producer kind;
  TensorNames producer;  // a norm's weight, or a linear's module
};

struct ArchSpec {
  std::string_view name;      // model_type in config.json, general.architecture in GGUF
  std::string_view hf_class;  // config.json architectures[0]
  TensorNames embedding, final_norm, attn_norm, mlp_norm;  // whole tensor names
  TensorNames head;                                        // module
  std::span<const LinearSpec> linears;
  std::span<const EqualizationGroup> equalization_groups;
  // Both fill what the layers need; source.cc sets arch, dtype, the special tokens and, for GGUF,
  // vocab and tied_head.
  ModelConfig (*config_from_hf)(const JsonFields& config);
  ModelConfig (*config_from_gguf)(const JsonFields& metadata);
  Json (*config_to_hf)(const ModelConfig& config);  // config.json for a source that has none
};

std::span<const ArchSpec* const> AllArchs();
// Error naming `where` that lists what is supported.
const ArchSpec& FindArch(std::string_view name, std::string_view where);

int64_t SiteInputs(const ModelConfig& config, ActSite site);    // K of the site's linears
int64_t SiteChannels(const ModelConfig& config, ActSite site);  // sum of their N

}  // namespace fptq
