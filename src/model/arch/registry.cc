#include <fmt/ranges.h>

#include <algorithm>
#include <vector>

#include "base/error.h"
#include "model/arch/arch.h"

namespace fptq {

extern const ArchSpec kLlamaArch;

namespace {

const ArchSpec* const kArchs[] = {
    &kLlamaArch,
};

}  // namespace

std::span<const ArchSpec* const> AllArchs() { return kArchs; }

const ArchSpec& FindArch(std::string_view name, std::string_view where) {
  const auto found =
      std::ranges::find_if(kArchs, [&](const ArchSpec* arch) { return arch->name == name; });
  if (found != std::end(kArchs)) return **found;
  std::vector<std::string_view> names;
  for (const ArchSpec* arch : kArchs) names.push_back(arch->name);
  throw Error("{}: architecture '{}' is not supported; supported: {}", where, name,
              fmt::join(names, ", "));
}

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

int64_t SiteInputs(const ModelConfig& config, ActSite site) {
  switch (site) {
    case ActSite::kAttnIn:
    case ActSite::kMlpIn:
      return config.hidden;
    case ActSite::kAttnOut:
      return config.query_width();
    case ActSite::kMlpMid:
      return config.mlp;
  }
  return 0;
}

int64_t SiteChannels(const ModelConfig& config, ActSite site) {
  int64_t channels = 0;
  for (const LinearSpec& linear : config.arch->linears) {
    if (linear.site == site) channels += linear.channels(config);
  }
  return channels;
}

}  // namespace fptq
