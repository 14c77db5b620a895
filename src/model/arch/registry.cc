#include <fmt/ranges.h>

#include <algorithm>
#include <vector>

#include "base/error.h"
#include "model/arch/arch.h"

namespace fptq {

extern const ArchSpec kBloomArch;
extern const ArchSpec kGemma2Arch;
extern const ArchSpec kGemma3Arch;
extern const ArchSpec kGptNeoxArch;
extern const ArchSpec kGraniteArch;
extern const ArchSpec kLlamaArch;
extern const ArchSpec kMistralArch;
extern const ArchSpec kOlmo2Arch;
extern const ArchSpec kOptArch;
extern const ArchSpec kPhi3Arch;
extern const ArchSpec kQwen2Arch;
extern const ArchSpec kQwen3Arch;
extern const ArchSpec kSmolLm3Arch;

namespace {

const ArchSpec* const kArchs[] = {
    &kBloomArch,    // one a line
    &kGemma2Arch,   //
    &kGemma3Arch,   //
    &kGptNeoxArch,  //
    &kGraniteArch,  //
    &kLlamaArch,    //
    &kMistralArch,  //
    &kOlmo2Arch,    //
    &kOptArch,      //
    &kPhi3Arch,     //
    &kQwen2Arch,    //
    &kQwen3Arch,    //
    &kSmolLm3Arch,  //
};

const ArchSpec& Find(std::string_view ArchSpec::*field, std::string_view name,
                     std::string_view where) {
  std::vector<std::string_view> names;
  for (const ArchSpec* arch : kArchs) {
    if ((arch->*field).empty()) continue;
    if (arch->*field == name) return *arch;
    names.push_back(arch->*field);
  }
  throw Error("{}: architecture '{}' is not supported; supported: {}", where, name,
              fmt::join(names, ", "));
}

}  // namespace

std::span<const ArchSpec* const> AllArchs() { return kArchs; }

const ArchSpec& FindArch(std::string_view name, std::string_view where) {
  return Find(&ArchSpec::name, name, where);
}

const ArchSpec& FindGgufArch(std::string_view name, std::string_view where) {
  return Find(&ArchSpec::gguf_name, name, where);
}

int64_t RowByHead(int64_t channels, int64_t head_dim, int64_t channel) {
  const int64_t width = channels / 3;  // of q, of k and of v
  const int64_t part = channel / width, head = channel % width / head_dim;
  return (head * 3 + part) * head_dim + channel % head_dim;
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
