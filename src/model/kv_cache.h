// Keys and values of the tokens seen so far.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/tensor.h"
#include "base/thread_pool.h"
#include "kernels/kernels.h"
#include "model/config.h"

namespace fptq {

enum class KvType { kI8, kF32 };

// What a model's cache is unless one asks for the other: INT8 for a quantized model, float32 for a
// float one.
constexpr KvType DefaultKvType(bool quantized) { return quantized ? KvType::kI8 : KvType::kF32; }

// Pages of kKvBlock positions each, for all layers. A sequence's block table says which pages hold
// its positions, in order; several may share a page that none of them writes. Positions may be
// written again: a sequence is rewound by writing from an earlier position on. Holds no lengths and
// knows no owners: the batch says which positions are valid, and engine/page_pool.h who has a page.
class KvCache {
 public:
  // `layers`: config.layers, or 1 for calibration, which runs one layer at a time.
  KvCache(const ModelConfig& config, KvType type, int64_t pages, int64_t layers);

  KvType type() const { return type_; }
  int64_t pages() const { return pages_; }
  int64_t Bytes() const { return pages_ * page_bytes_; }
  // Memory for a page.
  static int64_t PageBytes(const ModelConfig& config, KvType type, int64_t layers);

  // `table`: page of each block of the sequence. It must outlive the result.
  KvI8 I8(std::span<const int32_t> table, int64_t layer, int64_t kv_head);
  KvF32 F32(std::span<const int32_t> table, int64_t layer, int64_t kv_head);

  // Page `to` holds then what page `from` does.
  void CopyPage(int32_t from, int32_t to, ThreadPool& pool);

 private:
  // A stream is what one (layer, KV head) has seen: all pages, side by side.
  int64_t Stream(int64_t layer, int64_t kv_head) const;

  KvType type_;
  int64_t pages_, layers_, kv_heads_;
  int64_t stride_;  // elements of the keys (or values) of a stream
  int64_t page_bytes_;
  AlignedBuffer<uint8_t> keys_i8_;
  AlignedBuffer<int8_t> values_i8_;
  AlignedBuffer<float> key_scales_, value_scales_;
  AlignedBuffer<float> keys_f32_, values_f32_;
};

// How many pages hold so many positions, and how many sections (kernels.h) they are.
int64_t PagesFor(int64_t positions);
int64_t SectionsFor(int64_t positions);
// The block table of a sequence that has the pages from `first` on for itself.
std::vector<int32_t> PageRange(int64_t first, int64_t count);

}  // namespace fptq
