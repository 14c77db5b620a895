// Element types, shapes and aligned memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace fptq {

// How the elements of a stored tensor are encoded. The block types (kQ...) are those of GGUF and
// pack a row in blocks.
enum class DataType {
  kF32,
  kF16,
  kBF16,
  kI8,
  kU8,
  kI32,
  kI64,
  kF64,
  kBool,
  kI16,
  kU16,
  kU32,
  kU64,
  kF8E4M3,  // this and the next two are only known, so that a message can say what is there
  kF8E5M2,
  kF8E8M0,
  kQ4_0,
  kQ4_1,
  kQ5_0,
  kQ5_1,
  kQ8_0,
  kQ4_K,
  kQ5_K,
  kQ6_K,
  kQ2_K,
  kQ3_K,
  kIQ4_NL,
  kIQ4_XS,
  kTQ1_0,
  kTQ2_0,
  kMXFP4,
};

std::string_view DataTypeName(DataType type);  // "F32", "Q4_K", ...

// Elements a block holds (1 for plain types) and its size in bytes.
struct BlockSize {
  int64_t elements;
  int64_t bytes;
};
BlockSize BlockSizeOf(DataType type);

// a * b for sizes from files: Error naming `where` if a factor is negative or the product does not
// fit in int64_t.
int64_t CheckedMultiply(int64_t a, int64_t b, std::string_view where);

// A tensor in a file; the bytes belong to the checkpoint that it came from.
struct TensorView {
  DataType type = DataType::kF32;
  std::vector<int64_t> shape;        // outermost first; [N, K] for the weights of a linear
  std::span<const std::byte> bytes;  // row after row, little endian

  int64_t ElementCount() const;
};

// Type, shape and bytes.
bool SameContent(const TensorView& a, const TensorView& b);

std::string ShapeString(std::span<const int64_t> shape);  // "[576, 1536]"

// Memory aligned for any vector instruction and for whole cache lines; zeroed.
template <typename T>
class AlignedBuffer {
 public:
  AlignedBuffer() = default;
  explicit AlignedBuffer(int64_t size) { Resize(size); }

  // Memory that somebody else owns and frees after the buffer.
  static AlignedBuffer View(T* data, int64_t size) {
    AlignedBuffer view;
    view.data_ = {data, Free{.owned = false}};
    view.size_ = size;
    return view;
  }

  // Discards the content; the new one is zero, and the buffer's own.
  void Resize(int64_t size);
  T* data() { return data_.get(); }
  const T* data() const { return data_.get(); }
  int64_t size() const { return size_; }
  std::span<T> span() { return {data_.get(), static_cast<size_t>(size_)}; }
  std::span<const T> span() const { return {data_.get(), static_cast<size_t>(size_)}; }
  T& operator[](int64_t i) { return data_.get()[i]; }
  const T& operator[](int64_t i) const { return data_.get()[i]; }

 private:
  struct Free {
    bool owned = true;
    void operator()(T* p) const;
  };
  std::unique_ptr<T, Free> data_;
  int64_t size_ = 0;
};

// `bytes` of zeroed memory aligned to 64 bytes (to 2 MiB when large, so that the kernel can use
// huge pages); throws std::bad_alloc.
void* AllocateAligned(int64_t bytes);
void FreeAligned(void* p);

template <typename T>
void AlignedBuffer<T>::Resize(int64_t size) {
  data_ = {static_cast<T*>(AllocateAligned(CheckedMultiply(size, sizeof(T), "buffer"))), Free()};
  size_ = size;
}
template <typename T>
void AlignedBuffer<T>::Free::operator()(T* p) const {
  if (owned) FreeAligned(p);
}

}  // namespace fptq
