#include "model/kv_cache.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "base/error.h"

namespace fptq {
namespace {

// Elements of the keys (or values) of a KV head in a page.
int64_t HeadElements(const ModelConfig& config) {
  return kKvBlock * ((config.head_dim + kTileChannels - 1) / kTileChannels * kTileChannels);
}

}  // namespace

int64_t PagesFor(int64_t positions) { return (positions + kKvBlock - 1) / kKvBlock; }

int64_t SectionsFor(int64_t positions) { return (positions + kKvSection - 1) / kKvSection; }

std::vector<int32_t> PageRange(int64_t first, int64_t count) {
  std::vector<int32_t> pages(static_cast<size_t>(count));
  std::iota(pages.begin(), pages.end(), static_cast<int32_t>(first));
  return pages;
}

int64_t KvCache::PageBytes(const ModelConfig& config, KvType type, int64_t layers) {
  const int64_t elements = HeadElements(config);
  const int64_t head = type == KvType::kI8 ? 2 * elements + 2 * 4 * kKvBlock : 2 * 4 * elements;
  return CheckedMultiply(CheckedMultiply(layers, config.kv_heads, "KV cache"), head, "KV cache");
}

KvCache::KvCache(const ModelConfig& config, KvType type, int64_t pages, int64_t layers)
    : type_(type),
      pages_(pages),
      layers_(layers),
      kv_heads_(config.kv_heads),
      stride_(CheckedMultiply(pages, HeadElements(config), "KV cache")),
      page_bytes_(PageBytes(config, type, layers)) {
  FPTQ_CHECK(pages <= std::numeric_limits<int32_t>::max());
  CheckedMultiply(pages, page_bytes_, "KV cache");
  const int64_t streams = layers * kv_heads_, elements = streams * stride_;
  switch (type) {
    case KvType::kI8:
      keys_i8_.Resize(elements);
      values_i8_.Resize(elements);
      key_scales_.Resize(streams * pages * kKvBlock);
      value_scales_.Resize(streams * pages * kKvBlock);
      break;
    case KvType::kF32:
      keys_f32_.Resize(elements);
      values_f32_.Resize(elements);
      break;
  }
}

int64_t KvCache::Stream(int64_t layer, int64_t kv_head) const {
  FPTQ_CHECK(layer >= 0 && layer < layers_ && kv_head >= 0 && kv_head < kv_heads_);
  return layer * kv_heads_ + kv_head;
}

KvI8 KvCache::I8(std::span<const int32_t> table, int64_t layer, int64_t kv_head) {
  const int64_t stream = Stream(layer, kv_head);
  return {.keys = keys_i8_.data() + stream * stride_,
          .values = values_i8_.data() + stream * stride_,
          .key_scales = key_scales_.data() + stream * pages_ * kKvBlock,
          .value_scales = value_scales_.data() + stream * pages_ * kKvBlock,
          .pages = table.data()};
}

KvF32 KvCache::F32(std::span<const int32_t> table, int64_t layer, int64_t kv_head) {
  const int64_t stream = Stream(layer, kv_head);
  return {.keys = keys_f32_.data() + stream * stride_,
          .values = values_f32_.data() + stream * stride_,
          .pages = table.data()};
}

void KvCache::CopyPage(int32_t from, int32_t to, ThreadPool& pool) {
  FPTQ_CHECK(from >= 0 && from < pages_ && to >= 0 && to < pages_);
  pool.ParallelFor(layers_ * kv_heads_, [&](int64_t begin, int64_t end) {
    for (int64_t stream = begin; stream < end; ++stream) {
      const auto copy = [&](auto& buffer, int64_t stream_size) {
        if (buffer.size() == 0) return;
        const int64_t page_size = stream_size / pages_;
        auto* first = buffer.data() + stream * stream_size;
        std::copy_n(first + from * page_size, page_size, first + to * page_size);
      };
      copy(keys_i8_, stride_);
      copy(values_i8_, stride_);
      copy(key_scales_, pages_ * kKvBlock);
      copy(value_scales_, pages_ * kKvBlock);
      copy(keys_f32_, stride_);
      copy(values_f32_, stride_);
    }
  });
}

}  // namespace fptq
