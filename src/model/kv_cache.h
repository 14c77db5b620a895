// Keys and values of the tokens seen so far.
#pragma once

#include <cstdint>

#include "base/tensor.h"
#include "kernels/kernels.h"
#include "model/config.h"

namespace fptq {

enum class KvType { kI8, kF32 };

// `slots` sequences of up to `capacity` positions each. Positions may be written again: a sequence
// is rewound by writing from an earlier position on. Holds no lengths: the batch says which
// positions are valid.
class KvCache {
 public:
  // `layers`: config.layers, or 1 for calibration, which runs one layer at a time.
  KvCache(const ModelConfig& config, KvType type, int64_t slots, int64_t capacity, int64_t layers);

  KvType type() const { return type_; }
  int64_t slots() const { return slots_; }
  int64_t capacity() const { return capacity_; }
  int64_t Bytes() const;

  KvI8 I8(int64_t slot, int64_t layer, int64_t kv_head);
  KvF32 F32(int64_t slot, int64_t layer, int64_t kv_head);
  // Scratch of kI8 for the attention of one row in sections (kernels.h): [sections, heads,
  // SectionStateSize]. The layers share it.
  float* SectionStates(int64_t slot);

 private:
  // A stream is what one (slot, layer, KV head) has seen.
  int64_t Stream(int64_t slot, int64_t layer, int64_t kv_head) const;

  KvType type_;
  int64_t slots_, capacity_, layers_, kv_heads_;
  int64_t stride_;        // elements of the keys (or values) of a stream
  int64_t scale_stride_;  // positions of a stream, whole blocks
  AlignedBuffer<uint8_t> keys_i8_;
  AlignedBuffer<int8_t> values_i8_;
  AlignedBuffer<float> key_scales_, value_scales_;
  AlignedBuffer<float> keys_f32_, values_f32_;
  AlignedBuffer<float> section_states_;
};

}  // namespace fptq
