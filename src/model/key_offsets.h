// What the keys of a layer have in common (KeyOffsets in kernels.h): their bias.
#pragma once

#include <cstdint>
#include <span>

#include "base/tensor.h"
#include "kernels/kernels.h"
#include "model/config.h"

namespace fptq {

// The mean over a section's positions of the bias of k_proj as RoPE rotates it, then rotated like
// the keys (RotateArgs): where RoPE turns slowly, almost all of the bias, elsewhere almost nothing.
// Qwen2 has biases of tens of times its keys in channels that turn by less than 0.1 in 8,192
// positions. Layout: [sections of max_positions, up to 1,024 of them, kv_heads, head_dim].
AlignedBuffer<float> MakeKeyOffsets(const ModelConfig& config, int64_t layer,
                                    std::span<const float> key_bias);

// Those of a KV head.
KeyOffsets KeyOffsetsOf(const ModelConfig& config, const AlignedBuffer<float>& offsets,
                        int64_t kv_head);

}  // namespace fptq
