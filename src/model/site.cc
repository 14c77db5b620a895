#include "model/site.h"

#include <fmt/format.h>

namespace fptq {

std::string_view ActSiteName(ActSite site) {
  switch (site) {
    case ActSite::kAttnIn:
      return "attn_in";
    case ActSite::kAttnOut:
      return "attn_out";
    case ActSite::kMlpIn:
      return "mlp_in";
    case ActSite::kMlpMid:
      return "mlp_mid";
  }
  return "";
}

std::vector<MlpId> MlpsOf(const ModelConfig& config, int64_t layer) {
  if (!config.is_mixture(layer)) return {MlpId()};
  const int64_t count = config.mixture.experts + (config.mixture.shared_width > 0 ? 1 : 0);
  std::vector<MlpId> mlps;
  for (size_t i = 0; i < static_cast<size_t>(count); ++i) mlps.push_back(MlpAt(config, i));
  return mlps;
}

MlpId MlpAt(const ModelConfig& config, size_t index) {
  const auto expert = static_cast<int64_t>(index);
  if (expert == config.mixture.experts) return {MlpKind::kShared};
  return {MlpKind::kExpert, expert};
}

size_t MlpIndex(const ModelConfig& config, MlpId mlp) {
  return static_cast<size_t>(mlp.kind == MlpKind::kShared ? config.mixture.experts : mlp.expert);
}

int64_t MlpWidth(const ModelConfig& config, MlpId mlp) {
  switch (mlp.kind) {
    case MlpKind::kDense:
      return config.mlp;
    case MlpKind::kExpert:
      return config.mixture.width;
    case MlpKind::kShared:
      return config.mixture.shared_width;
  }
  return 0;
}

std::string SiteName(const SiteId& site) {
  const std::string_view role = ActSiteName(site.role);
  switch (site.mlp.kind) {
    case MlpKind::kDense:
      return std::string(role);
    case MlpKind::kExpert:
      return fmt::format("{}.{}", role, site.mlp.expert);
    case MlpKind::kShared:
      return fmt::format("{}.shared", role);
  }
  return "";
}

std::vector<SiteId> SitesOf(const ModelConfig& config, int64_t layer) {
  std::vector<SiteId> sites = {ActSite::kAttnIn, ActSite::kAttnOut};
  if (!config.shared_norm) sites.emplace_back(ActSite::kMlpIn);
  for (const MlpId mlp : MlpsOf(config, layer)) sites.emplace_back(ActSite::kMlpMid, mlp);
  return sites;
}

size_t SiteIndex(const ModelConfig& config, const SiteId& site) {
  // kMlpMid is the last role, and without kMlpIn the one before it.
  const bool moves_up = config.shared_norm && site.role == ActSite::kMlpMid;
  return static_cast<size_t>(site.role) - (moves_up ? 1 : 0) + MlpIndex(config, site.mlp);
}

int64_t SiteInputs(const ModelConfig& config, const SiteId& site) {
  switch (site.role) {
    case ActSite::kAttnIn:
    case ActSite::kMlpIn:
      return config.hidden;
    case ActSite::kAttnOut:
      return config.query_width();
    case ActSite::kMlpMid:
      return MlpWidth(config, site.mlp);
  }
  return 0;
}

}  // namespace fptq
