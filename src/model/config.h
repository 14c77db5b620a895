// The dimensions and switches that fully determine the forward pass.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/tensor.h"

namespace fptq {

struct ArchSpec;

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
  double norm_epsilon = 0;
  double rope_theta = 0;
  bool tied_head = false;           // lm_head is the embedding
  DataType dtype = DataType::kF16;  // the 16-bit (or F32) type of what is not quantized, on disk
  int32_t bos_token = -1;           // -1: none
  std::vector<int32_t> eos_tokens;

  int64_t query_width() const { return heads * head_dim; }
  int64_t kv_width() const { return kv_heads * head_dim; }
};

// Error naming `where` and the field if a dimension is out of bounds or does not divide as it must.
void Validate(const ModelConfig& config, std::string_view where);

}  // namespace fptq
