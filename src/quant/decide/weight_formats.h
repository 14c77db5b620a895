// How the weights of each linear are stored: decided by the shape of the model alone, before any of
// it is read.
#pragma once

#include <cstdint>
#include <vector>

#include "model/arch/arch.h"
#include "quant/recipe.h"
#include "quant/round/group_quant.h"

namespace fptq {

struct WeightFormat {
  int bits = 4;  // 4 or 8
  // Inputs that share a scale; 0: no group divides K, and the weights stay float.
  int64_t group_size = 0;
  bool symmetric = true;  // 4 bits: without zero points

  // Of `channels` x `k` weights as stored, scales of `scale_bits` and zero points included.
  int64_t StoredBits(int64_t channels, int64_t k, int scale_bits) const;
};

// The linears of a site share their groups, as they share its activations; all experts of a layer
// have the same formats, those of a mixture's kMlpIn one kind of groups.
class WeightFormats {
 public:
  // As weight_bits, group_size and symmetric of the recipe say; or, where it says how many bits a
  // weight may take, those that are expected to lose least of all that take no more. Error naming
  // the recipe's "bits" if the cheapest take more. `config` must outlive this.
  WeightFormats(const QuantRecipe& recipe, const ModelConfig& config);

  const WeightFormat& at(int64_t layer, const LinearSpec& linear) const;
  // Of the site's linears; size 0 if their weights stay float.
  GroupFormat groups(int64_t layer, const SiteId& site) const;
  std::vector<int> bits(int64_t layer, const SiteId& site) const;  // of experts those of one
  // Of the linears that are quantized, scales and zero points included; 0 if none is.
  double BitsPerWeight() const;

 private:
  void TakeUniform(const QuantRecipe& recipe);
  void TakeBest(double bits_per_weight);

  const ModelConfig& config_;
  std::vector<std::vector<WeightFormat>> formats_;  // by layer and row of ArchSpec::linears
};

}  // namespace fptq
