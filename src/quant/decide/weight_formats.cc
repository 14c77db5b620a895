#include "quant/decide/weight_formats.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "base/error.h"
#include "base/tensor.h"
#include "quant/round/group_quant.h"

namespace fptq {
namespace {

// What a linear in 4 bits adds to the KL divergence of a model, where that of q_proj is 1: whatever
// its size, as it is the error of its whole output that counts. Measured (docs/quality.md).
constexpr double kQuery = 1, kKey = 1.3, kValue = 2.3, kAttentionOut = 0.9;
constexpr double kGate = 2.7, kUp = 4, kDown = 5;

// What that is in groups of so many inputs, with zero points or without, beside groups of 64
// without: as the mean squares of the errors, measured, too. In 8 bits steps are 1/16, and squares
// of errors 1/256; they have no zero points.
struct Grouping {
  int64_t size;
  bool symmetric;
  double loss;
};
constexpr Grouping kGroupings[] = {{128, true, 1.27}, {128, false, 1.14}, {64, true, 1},
                                   {64, false, 0.89}, {32, true, 0.755},  {32, false, 0.635}};
constexpr double kEightBits = 1.0 / 256;
constexpr int64_t kLargestGroup = 128;

// The loss of 8 bits in groups of a size is that of 4 bits without zero points, divided.
double LossOfSymmetric(int64_t size) {
  const auto* found = std::ranges::find_if(kGroupings, [&](const Grouping& grouping) {
    return grouping.size == size && grouping.symmetric;
  });
  return found->loss;
}

// The linear's place in its architecture's table.
size_t RowOf(const ModelConfig& config, const LinearSpec& linear) {
  return static_cast<size_t>(&linear - config.arch->linears.data());
}

// A linear of a layer, or all experts' of a kind.
struct Item {
  size_t row = 0;  // of ArchSpec::linears
  int64_t channels = 0;
  int64_t count = 1;  // of the linears: all experts'
  double loss = 0;    // in 4 bits and groups of 64
};

// Linears that share their groups.
struct Site {
  SiteId id;
  int64_t k = 0;
  std::vector<Item> items;
};

// Formats of a site's linears, by item, and what comes of them.
struct SiteFormats {
  std::vector<WeightFormat> formats;
  double bits = 0, loss = 0;
};

int ScaleBits(const ModelConfig& config) {
  return 8 * static_cast<int>(BlockSizeOf(config.dtype).bytes);
}

// q, k and v, or one linear for all three; then the MLP's first one, where it shares their norm.
double LossOfAttentionInput(size_t index, size_t linears) {
  constexpr double kEach[] = {kQuery, kKey, kValue};
  if (linears < std::size(kEach)) return index == 0 ? kQuery + kKey + kValue : kUp;
  return index < std::size(kEach) ? kEach[index] : kUp;
}

// Of row `index` of the `linears` that have this site.
double LossOf(ActSite site, size_t index, size_t linears) {
  switch (site) {
    case ActSite::kAttnIn:
      return LossOfAttentionInput(index, linears);
    case ActSite::kAttnOut:
      return kAttentionOut;
    case ActSite::kMlpIn:
      return (kGate + kUp) / static_cast<double>(linears);
    case ActSite::kMlpMid:
      return kDown;
  }
  return 0;
}

// The least of loss + price * bits.
SiteFormats BestFormats(const Site& site, double price, int scale_bits) {
  SiteFormats best;
  double least = std::numeric_limits<double>::infinity();
  for (const Grouping& grouping : kGroupings) {
    if (site.k % grouping.size != 0) continue;
    SiteFormats tried;
    for (const Item& item : site.items) {
      const WeightFormat four = {
          .bits = 4, .group_size = grouping.size, .symmetric = grouping.symmetric};
      const WeightFormat eight = {.bits = 8, .group_size = grouping.size};
      const auto bits = [&](const WeightFormat& format) {
        return static_cast<double>(item.count *
                                   format.StoredBits(item.channels, site.k, scale_bits));
      };
      const double loss = item.loss * grouping.loss;
      const double loss_of_eight = item.loss * kEightBits * LossOfSymmetric(grouping.size);
      const bool takes_eight = loss - loss_of_eight > price * (bits(eight) - bits(four));
      tried.formats.push_back(takes_eight ? eight : four);
      tried.bits += bits(tried.formats.back());
      tried.loss += takes_eight ? loss_of_eight : loss;
    }
    const double cost = tried.loss + price * tried.bits;
    if (cost >= least) continue;
    least = cost;
    best = std::move(tried);
  }
  return best;
}

// Those of a layer whose inputs a group divides.
std::vector<Site> SitesOfLayer(const ModelConfig& config, int64_t layer) {
  // Of equal losses the last layers' go first, so that a few bits more change a few layers more.
  const double tie = 1 + 1e-6 * static_cast<double>(layer);
  std::vector<Site> sites;
  for (const LayerLinear& linear : LinearsOf(config, layer)) {
    const int64_t k = linear.k(config);
    if (linear.mlp.expert > 0 || GroupSizeFor(k, kLargestGroup) == 0) continue;
    auto site = std::ranges::find(sites, linear.site(), &Site::id);
    if (site == sites.end()) {
      site = sites.insert(site, {.id = linear.site(), .k = k, .items = {}});
    }
    const std::vector<LayerLinear> beside = LinearsOf(config, layer, linear.spec->site, linear.mlp);
    const auto index = std::ranges::find(beside, linear.spec, &LayerLinear::spec) - beside.begin();
    const int64_t alike = linear.mlp.kind == MlpKind::kExpert ? config.mixture.experts : 1;
    site->items.push_back(
        {.row = RowOf(config, *linear.spec),
         .channels = linear.channels(config),
         .count = alike,
         .loss = tie * LossOf(linear.spec->site, static_cast<size_t>(index), beside.size())});
  }
  return sites;
}

}  // namespace

int64_t WeightFormat::StoredBits(int64_t channels, int64_t k, int scale_bits) const {
  constexpr int64_t kTogether = 8;  // zero points of 4 bits, of as many channels, are a word
  const int64_t groups = k / group_size;
  const int64_t zero_points =
      symmetric ? 0 : (channels + kTogether - 1) / kTogether * kTogether * groups;
  return bits * channels * k + scale_bits * channels * groups + 4 * zero_points;
}

WeightFormats::WeightFormats(const QuantRecipe& recipe, const ModelConfig& config)
    : config_(config),
      formats_(static_cast<size_t>(config.layers),
               std::vector<WeightFormat>(config.arch->linears.size())) {
  if (recipe.bits == 0) {
    TakeUniform(recipe);
  } else {
    TakeBest(recipe.bits);
  }
}

void WeightFormats::TakeUniform(const QuantRecipe& recipe) {
  for (size_t layer = 0; layer < formats_.size(); ++layer) {
    for (const LayerLinear& linear : LinearsOf(config_, static_cast<int64_t>(layer))) {
      formats_[layer][RowOf(config_, *linear.spec)] = {
          .bits = static_cast<int>(recipe.weight_bits),
          .group_size = GroupSizeFor(linear.k(config_), recipe.group_size),
          .symmetric = recipe.symmetric || recipe.weight_bits != 4};
    }
  }
}

// Lagrange's: each site takes what is best for a price of bits, and the lowest price whose bits are
// not too many is found by bisection.
void WeightFormats::TakeBest(double bits_per_weight) {
  const int scale_bits = ScaleBits(config_);
  std::vector<std::vector<Site>> sites;  // by layer
  double weights = 0, loss = 0;
  for (int64_t layer = 0; layer < config_.layers; ++layer) {
    sites.push_back(SitesOfLayer(config_, layer));
    for (const Site& site : sites.back()) {
      for (const Item& item : site.items) {
        weights += static_cast<double>(item.count * item.channels * site.k);
        loss += item.loss;
      }
    }
  }
  const auto bits_at = [&](double price) {
    double bits = 0;
    for (const std::vector<Site>& layer : sites) {
      for (const Site& site : layer) bits += BestFormats(site, price, scale_bits).bits;
    }
    return bits / weights;
  };
  // For more than all losses nothing is bought, for next to nothing everything.
  double high = 2 * loss * kLargestGroup, low = 1e-30 * high;
  if (const double least = bits_at(high); least > bits_per_weight) {
    // Rounded up, so that who asks for what is said gets it.
    throw Error("recipe: 'bits': expected at least {} for this model, found {}",
                std::ceil(least * 1e4) / 1e4, bits_per_weight);
  }
  for (int i = 0; i < 64; ++i) {
    const double price = std::sqrt(low * high);
    (bits_at(price) > bits_per_weight ? low : high) = price;
  }
  for (size_t layer = 0; layer < sites.size(); ++layer) {
    for (const Site& site : sites[layer]) {
      const std::vector<WeightFormat> formats = BestFormats(site, high, scale_bits).formats;
      for (size_t i = 0; i < formats.size(); ++i) formats_[layer][site.items[i].row] = formats[i];
    }
  }
}

const WeightFormat& WeightFormats::at(int64_t layer, const LinearSpec& linear) const {
  return formats_[static_cast<size_t>(layer)][RowOf(config_, linear)];
}

GroupFormat WeightFormats::groups(int64_t layer, const SiteId& site) const {
  GroupFormat groups = {.dtype = config_.dtype};
  for (const LayerLinear& linear : LinearsOf(config_, layer)) {
    if (linear.site() != site) continue;
    const WeightFormat& format = at(layer, *linear.spec);
    groups.size = format.group_size;
    groups.symmetric &= format.symmetric;
  }
  return groups;
}

std::vector<int> WeightFormats::bits(int64_t layer, const SiteId& site) const {
  std::vector<int> bits;
  for (const LayerLinear& linear : LinearsOf(config_, layer)) {
    const bool is_first = linear.mlp.expert == site.mlp.expert;
    if (is_first && linear.site() == site) bits.push_back(at(layer, *linear.spec).bits);
  }
  return bits;
}

double WeightFormats::BitsPerWeight() const {
  const int scale_bits = ScaleBits(config_);
  double bits = 0, weights = 0;
  for (int64_t layer = 0; layer < config_.layers; ++layer) {
    for (const LayerLinear& linear : LinearsOf(config_, layer)) {
      const WeightFormat& format = at(layer, *linear.spec);
      if (format.group_size == 0) continue;
      const int64_t channels = linear.channels(config_), k = linear.k(config_);
      weights += static_cast<double>(channels * k);
      bits += static_cast<double>(format.StoredBits(channels, k, scale_bits));
    }
  }
  return weights > 0 ? bits / weights : 0;
}

}  // namespace fptq
