// The dimensions and switches that fully determine the forward pass.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "base/tensor.h"

namespace fptq {

struct ArchSpec;

inline constexpr int64_t kMaxLayers = 10'000;  // no real model comes near

enum class NormKind { kRms, kLayer };  // kernels.h has the formulas of both enums
enum class Activation { kSilu, kGeluTanh, kGelu, kRelu };

// Positions beyond those that the model was trained on: its rotary frequencies are lowered.
struct RopeScaling {
  // kFactors: each frequency is divided by a factor of its own (longrope, arXiv 2402.13753).
  enum class Kind { kNone, kLinear, kLlama3, kYarn, kFactors };
  Kind kind = Kind::kNone;
  double factor = 1;
  double low_freq_factor = 0, high_freq_factor = 0;  // of kLlama3
  double beta_fast = 32, beta_slow = 1;              // of kYarn (arXiv 2309.00071), as the next one
  bool truncate = true;              // the dims between which it interpolates are whole ones
  int64_t original_positions = 0;    // of all but kLinear
  std::vector<double> factors = {};  // [rotary / 2], of kFactors
  double attention_factor = 1;       // multiplies cos and sin

  bool operator==(const RopeScaling&) const = default;
};

// The rotary frequencies of a layer: theta^(-2 i / rotary), scaled.
struct Rope {
  double theta = 0;
  RopeScaling scaling;

  bool operator==(const Rope&) const = default;
};

// Several MLPs in place of a dense one, of which each token takes some: those for which the
// router's softmax is largest, ties to the lower expert. What they give is added, weighted by it.
struct Mixture {
  int64_t experts = 0;       // 0: all layers are dense
  int64_t active = 0;        // experts that a token takes
  int64_t width = 0;         // of an expert's MLP
  int64_t shared_width = 0;  // of the MLP that all tokens take, weighted by the sigmoid of a gate
                             // of its own; 0: there is none
  bool normalized = false;   // the weights of a token's experts are divided by their sum
  std::vector<bool> layers;  // by layer, whether it is a mixture; empty: all are
};

struct ModelConfig {
  const ArchSpec* arch = nullptr;  // a row of the registry
  int64_t layers = 0;
  int64_t hidden = 0;
  int64_t heads = 0;
  int64_t kv_heads = 0;  // divides heads
  int64_t head_dim = 0;
  int64_t mlp = 0;  // width of a dense MLP
  Mixture mixture;
  int64_t vocab = 0;          // rows of the embedding
  int64_t max_positions = 0;  // the context the model was made for
  NormKind norm = NormKind::kRms;
  double norm_epsilon = 0;
  Activation activation = Activation::kSilu;
  bool gated_mlp = true;           // down(f(gate) * up), else down(f(up))
  bool parallel_residual = false;  // x + attention(norm(x)) + mlp(norm(x)): of the same x
  int64_t rotary = 0;              // dims of a head that rotate, the first ones; 0: none
  Rope rope;
  std::optional<Rope> window_rope;  // of layers with a window, where it differs
  std::vector<bool> rotated;        // by layer, whether it rotates; empty: all do
  bool shared_norm = false;  // of a parallel residual: norm(x) is the same, of one norm; what
                             // attention and MLP make of it is one site, kAttnIn
  bool alibi = false;
  double alibi_scale = 1;  // multiplies ALiBi's slopes
  bool attention_bias = false,
       mlp_bias = false;         // whether the linears of Bias::kAttention, ... have
  int64_t position_offset = 0;   // the row of learned positions that position 0 takes
  std::vector<int64_t> windows;  // by layer: how many positions a token attends to, itself
                                 // included, 0: all; empty: all in all layers
  bool tied_head = false;        // lm_head is the embedding
  double embedding_scale = 1;    // multiplies the embedding of a token
  double residual_scale = 1;     // multiplies what attention and MLP add to the residual stream
  double logit_scale = 1;        // multiplies the logits
  double attention_scale = 0;    // multiplies q . k; 0: 1 / sqrt(head_dim)
  // x becomes cap * tanh(x / cap); 0: it does not.
  double attention_softcap = 0;  // of q . k, scaled
  double logit_softcap = 0;
  DataType dtype = DataType::kF16;  // the 16-bit (or F32) type of what is not quantized, on disk

  int64_t query_width() const { return heads * head_dim; }
  int64_t kv_width() const { return kv_heads * head_dim; }
  int64_t qkv_width() const { return query_width() + 2 * kv_width(); }
  // What the linears of kAttnIn make: q, k, v and, of a shared norm, gate and up.
  int64_t attn_in_outputs() const { return qkv_width() + (shared_norm ? gate_up_width(mlp) : 0); }
  // Whether the layer has experts instead of one dense MLP.
  bool is_mixture(int64_t layer) const {
    return mixture.experts > 0 &&
           (mixture.layers.empty() || mixture.layers[static_cast<size_t>(layer)]);
  }
  // What the linears before the activation of an MLP of this width make: gate and up, or up.
  int64_t gate_up_width(int64_t width) const { return gated_mlp ? 2 * width : width; }
  int64_t WidestMlp() const;
  int64_t window(int64_t layer) const {
    return windows.empty() ? 0 : windows[static_cast<size_t>(layer)];
  }
  // Null if the layer does not rotate.
  const Rope* rope_of(int64_t layer) const;
  float softmax_scale() const;
  // That of all layers; 0 if one of them attends to all positions.
  int64_t LongestWindow() const;
};

// Error naming `where` and the field if a dimension is out of bounds or does not divide as it must.
void Validate(const ModelConfig& config, std::string_view where);

}  // namespace fptq
