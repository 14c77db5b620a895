#include "model/kv_cache.h"

#include "base/error.h"

namespace fptq {
namespace {

int64_t RoundUp(int64_t value, int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

}  // namespace

KvCache::KvCache(const ModelConfig& config, KvType type, int64_t slots, int64_t capacity,
                 int64_t layers)
    : type_(type),
      slots_(slots),
      capacity_(capacity),
      layers_(layers),
      kv_heads_(config.kv_heads),
      stride_(RoundUp(capacity, kKvBlock) * RoundUp(config.head_dim, kTileChannels)),
      scale_stride_(RoundUp(capacity, kKvBlock)) {
  const int64_t streams =
      CheckedMultiply(CheckedMultiply(slots, layers, "KV cache"), kv_heads_, "KV cache");
  const int64_t elements = CheckedMultiply(streams, stride_, "KV cache");
  switch (type) {
    case KvType::kI8:
      keys_i8_.Resize(elements);
      values_i8_.Resize(elements);
      key_scales_.Resize(streams * scale_stride_);
      value_scales_.Resize(streams * scale_stride_);
      section_states_.Resize(CheckedMultiply(slots,
                                             RoundUp(capacity, kKvSection) / kKvSection *
                                                 config.heads * SectionStateSize(config.head_dim),
                                             "KV cache"));
      break;
    case KvType::kF32:
      keys_f32_.Resize(elements);
      values_f32_.Resize(elements);
      break;
  }
}

int64_t KvCache::Bytes() const {
  return keys_i8_.size() + values_i8_.size() +
         4 * (key_scales_.size() + value_scales_.size() + keys_f32_.size() + values_f32_.size());
}

int64_t KvCache::Stream(int64_t slot, int64_t layer, int64_t kv_head) const {
  FPTQ_CHECK(slot >= 0 && slot < slots_ && layer >= 0 && layer < layers_ && kv_head >= 0 &&
             kv_head < kv_heads_);
  return (slot * layers_ + layer) * kv_heads_ + kv_head;
}

KvI8 KvCache::I8(int64_t slot, int64_t layer, int64_t kv_head) {
  const int64_t stream = Stream(slot, layer, kv_head);
  return {.keys = keys_i8_.data() + stream * stride_,
          .values = values_i8_.data() + stream * stride_,
          .key_scales = key_scales_.data() + stream * scale_stride_,
          .value_scales = value_scales_.data() + stream * scale_stride_};
}

KvF32 KvCache::F32(int64_t slot, int64_t layer, int64_t kv_head) {
  const int64_t stream = Stream(slot, layer, kv_head);
  return {.keys = keys_f32_.data() + stream * stride_,
          .values = values_f32_.data() + stream * stride_};
}

float* KvCache::SectionStates(int64_t slot) {
  FPTQ_CHECK(type_ == KvType::kI8 && slot >= 0 && slot < slots_);
  return section_states_.data() + slot * (section_states_.size() / slots_);
}

}  // namespace fptq
