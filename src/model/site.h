// Where activations enter the linears of a layer.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "model/config.h"

namespace fptq {

// Where an activation enters a linear; the unit that FPTQ decides on. The linears of a site (q, k,
// v; gate, up) have the same input and run as one matrix.
enum class ActSite { kAttnIn, kAttnOut, kMlpIn, kMlpMid };
inline constexpr std::array<ActSite, 4> kAllActSites = {ActSite::kAttnIn, ActSite::kAttnOut,
                                                        ActSite::kMlpIn, ActSite::kMlpMid};
std::string_view ActSiteName(ActSite site);  // "attn_in", "attn_out", "mlp_in", "mlp_mid"

// A layer has one dense MLP, or a mixture: experts, of which the router gives each token some, and
// perhaps one more that all tokens share.
enum class MlpKind { kDense, kExpert, kShared };

// An MLP of a layer.
struct MlpId {
  MlpKind kind = MlpKind::kDense;
  int64_t expert = 0;  // of kExpert: 0, 1, ...

  bool operator==(const MlpId&) const = default;
};

// The MLPs of a layer in the order in which they run: the experts, then the shared one.
std::vector<MlpId> MlpsOf(const ModelConfig& config, int64_t layer);
// The MLP of a mixture that has this place among them.
MlpId MlpAt(const ModelConfig& config, size_t index);
// The MLP's place among them.
size_t MlpIndex(const ModelConfig& config, MlpId mlp);
int64_t MlpWidth(const ModelConfig& config, MlpId mlp);

// A site of a layer. All MLPs of a mixture share kMlpIn, whose `mlp` is the default one; each has a
// kMlpMid of its own.
struct SiteId {
  ActSite role = ActSite::kAttnIn;
  MlpId mlp = {};

  SiteId() = default;
  SiteId(ActSite role_, MlpId mlp_ = {})
      : role(role_), mlp(mlp_) {}  // a role alone: a dense layer's
  bool operator==(const SiteId&) const = default;
};

// The name of its role, and which expert's it is: "attn_in", "mlp_mid", "mlp_mid.5",
// "mlp_mid.shared".
std::string SiteName(const SiteId& site);
// The sites of a layer in the order in which a forward pass comes to them.
std::vector<SiteId> SitesOf(const ModelConfig& config, int64_t layer);
// The site's place among them.
size_t SiteIndex(const ModelConfig& config, const SiteId& site);
int64_t SiteInputs(const ModelConfig& config, const SiteId& site);  // K of the site's linears

}  // namespace fptq
