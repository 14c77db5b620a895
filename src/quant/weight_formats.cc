#include "quant/weight_formats.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "base/error.h"
#include "base/tensor.h"
#include "quant/group_quant.h"

namespace fptq {
namespace {

// What a linear in 4 bits adds to the KL divergence of a model, where that of q_proj is 1: whatever
// its size, as it is the error of its whole output that counts. Measured (docs/quality.md).
constexpr double kQuery = 1, kKey = 1.3, kValue = 2.3, kAttentionOut = 0.9;
constexpr double kGate = 2.7, kUp = 4, kDown = 5;

// What that is in groups of so many inputs, beside groups of 64: as the mean squares of the errors,
// measured, too. In 8 bits steps are 1/16, and squares of errors 1/256.
struct Grouping {
  int64_t size;
  double loss;
};
constexpr Grouping kGroupings[] = {{128, 1.3}, {64, 1}, {32, 0.74}};
constexpr double kEightBits = 1.0 / 256;

// The linear's place in its architecture's table.
size_t RowOf(const ModelConfig& config, const LinearSpec& linear) {
  return static_cast<size_t>(&linear - config.arch->linears.data());
}

// A linear of a layer, or all experts' of a kind.
struct Item {
  size_t row = 0;  // of ArchSpec::linears
  double weights = 0;
  double loss = 0;  // in 4 bits and groups of 64
};

// Linears that share a group size.
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

double BitsOf(double weights, int bits, int64_t group_size, int scale_bits) {
  return weights * (bits + static_cast<double>(scale_bits) / static_cast<double>(group_size));
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
      const double four = BitsOf(item.weights, 4, grouping.size, scale_bits);
      const double eight = BitsOf(item.weights, 8, grouping.size, scale_bits);
      const double loss = item.loss * grouping.loss;
      const bool takes_eight = loss * (1 - kEightBits) > price * (eight - four);
      tried.formats.push_back({.bits = takes_eight ? 8 : 4, .group_size = grouping.size});
      tried.bits += takes_eight ? eight : four;
      tried.loss += takes_eight ? loss * kEightBits : loss;
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
    if (linear.mlp.expert > 0 || GroupSizeFor(k, kGroupings[0].size) == 0) continue;
    auto site = std::ranges::find(sites, linear.site(), &Site::id);
    if (site == sites.end()) {
      site = sites.insert(site, {.id = linear.site(), .k = k, .items = {}});
    }
    const std::vector<LayerLinear> beside = LinearsOf(config, layer, linear.spec->site, linear.mlp);
    const auto index = std::ranges::find(beside, linear.spec, &LayerLinear::spec) - beside.begin();
    const int64_t alike = linear.mlp.kind == MlpKind::kExpert ? config.mixture.experts : 1;
    site->items.push_back(
        {.row = RowOf(config, *linear.spec),
         .weights = static_cast<double>(linear.channels(config) * k * alike),
         .loss = tie * LossOf(linear.spec->site, static_cast<size_t>(index), beside.size())});
  }
  return sites;
}

}  // namespace

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
          .group_size = GroupSizeFor(linear.k(config_), recipe.group_size)};
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
        weights += item.weights;
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
  double high = 2 * loss * 128, low = 1e-30 * high;
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

int64_t WeightFormats::group_size(int64_t layer, const SiteId& site) const {
  for (const LayerLinear& linear : LinearsOf(config_, layer)) {
    if (linear.site() == site) return at(layer, *linear.spec).group_size;
  }
  return 0;
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
      const auto count = static_cast<double>(linear.channels(config_) * linear.k(config_));
      weights += count;
      bits += BitsOf(count, format.bits, format.group_size, scale_bits);
    }
  }
  return weights > 0 ? bits / weights : 0;
}

}  // namespace fptq
