// The dimensions and switches that fully determine the forward pass.
#pragma once

#include <cstdint>
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
  enum class Kind { kNone, kLinear, kLlama3 };
  Kind kind = Kind::kNone;
  double factor = 1;
  double low_freq_factor = 0, high_freq_factor = 0;  // of kLlama3, as the next one
  int64_t original_positions = 0;

  bool operator==(const RopeScaling&) const = default;
};

struct ModelConfig {
  const ArchSpec* arch = nullptr;  // a row of the registry
  int64_t layers = 0;
  int64_t hidden = 0;
  int64_t heads = 0;
  int64_t kv_heads = 0;  // divides heads
  int64_t head_dim = 0;
  int64_t mlp = 0;            // width of the MLP
  int64_t vocab = 0;          // rows of the embedding
  int64_t max_positions = 0;  // the context the model was made for
  NormKind norm = NormKind::kRms;
  double norm_epsilon = 0;
  Activation activation = Activation::kSilu;
  bool gated_mlp = true;           // down(f(gate) * up), else down(f(up))
  bool parallel_residual = false;  // x + attention(norm(x)) + mlp(norm(x)): of the same x
  int64_t rotary = 0;              // dims of a head that rotate, the first ones; 0: none
  double rope_theta = 0;
  RopeScaling rope_scaling;
  bool alibi = false;
  bool attention_bias = false,
       mlp_bias = false;            // whether the linears of Bias::kAttention, ... have
  int64_t position_offset = 0;      // the row of learned positions that position 0 takes
  std::vector<int64_t> windows;     // by layer: how many positions a token attends to, itself
                                    // included, 0: all; empty: all in all layers
  bool tied_head = false;           // lm_head is the embedding
  DataType dtype = DataType::kF16;  // the 16-bit (or F32) type of what is not quantized, on disk

  int64_t query_width() const { return heads * head_dim; }
  int64_t kv_width() const { return kv_heads * head_dim; }
  int64_t mlp_width() const { return gated_mlp ? 2 * mlp : mlp; }  // gate and up, or up
  int64_t window(int64_t layer) const {
    return windows.empty() ? 0 : windows[static_cast<size_t>(layer)];
  }
  // That of all layers; 0 if one of them attends to all positions.
  int64_t LongestWindow() const;
};

// Error naming `where` and the field if a dimension is out of bounds or does not divide as it must.
void Validate(const ModelConfig& config, std::string_view where);

}  // namespace fptq
