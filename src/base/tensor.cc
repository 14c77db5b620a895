#include "base/tensor.h"

#include <sys/mman.h>

#include <cstdlib>
#include <cstring>
#include <new>

#include "base/error.h"

namespace fptq {

std::string_view DataTypeName(DataType type) {
  switch (type) {
    case DataType::kF32:
      return "F32";
    case DataType::kF16:
      return "F16";
    case DataType::kBF16:
      return "BF16";
    case DataType::kI8:
      return "I8";
    case DataType::kU8:
      return "U8";
    case DataType::kI32:
      return "I32";
    case DataType::kI64:
      return "I64";
    case DataType::kF64:
      return "F64";
    case DataType::kBool:
      return "BOOL";
    case DataType::kI16:
      return "I16";
    case DataType::kU16:
      return "U16";
    case DataType::kU32:
      return "U32";
    case DataType::kU64:
      return "U64";
    case DataType::kF8E4M3:
      return "F8_E4M3";
    case DataType::kF8E5M2:
      return "F8_E5M2";
    case DataType::kF8E8M0:
      return "F8_E8M0";
    case DataType::kQ4_0:
      return "Q4_0";
    case DataType::kQ4_1:
      return "Q4_1";
    case DataType::kQ5_0:
      return "Q5_0";
    case DataType::kQ5_1:
      return "Q5_1";
    case DataType::kQ8_0:
      return "Q8_0";
    case DataType::kQ4_K:
      return "Q4_K";
    case DataType::kQ5_K:
      return "Q5_K";
    case DataType::kQ6_K:
      return "Q6_K";
    case DataType::kQ2_K:
      return "Q2_K";
    case DataType::kQ3_K:
      return "Q3_K";
    case DataType::kIQ4_NL:
      return "IQ4_NL";
    case DataType::kIQ4_XS:
      return "IQ4_XS";
    case DataType::kTQ1_0:
      return "TQ1_0";
    case DataType::kTQ2_0:
      return "TQ2_0";
    case DataType::kMXFP4:
      return "MXFP4";
  }
  FPTQ_CHECK(false);
  return {};
}

BlockSize BlockSizeOf(DataType type) {
  switch (type) {
    case DataType::kI8:
    case DataType::kU8:
    case DataType::kBool:
    case DataType::kF8E4M3:
    case DataType::kF8E5M2:
    case DataType::kF8E8M0:
      return {1, 1};
    case DataType::kF16:
    case DataType::kBF16:
    case DataType::kI16:
    case DataType::kU16:
      return {1, 2};
    case DataType::kF32:
    case DataType::kI32:
    case DataType::kU32:
      return {1, 4};
    case DataType::kF64:
    case DataType::kI64:
    case DataType::kU64:
      return {1, 8};
    case DataType::kQ4_0:
      return {32, 2 + 16};
    case DataType::kQ4_1:
      return {32, 4 + 16};
    case DataType::kQ5_0:
      return {32, 2 + 4 + 16};
    case DataType::kQ5_1:
      return {32, 4 + 4 + 16};
    case DataType::kQ8_0:
      return {32, 2 + 32};
    case DataType::kQ4_K:
      return {256, 4 + 12 + 128};
    case DataType::kQ5_K:
      return {256, 4 + 12 + 32 + 128};
    case DataType::kQ6_K:
      return {256, 128 + 64 + 16 + 2};
    case DataType::kQ2_K:
      return {256, 16 + 64 + 4};
    case DataType::kQ3_K:
      return {256, 32 + 64 + 12 + 2};
    case DataType::kIQ4_NL:
      return {32, 2 + 16};
    case DataType::kIQ4_XS:
      return {256, 4 + 4 + 128};
    case DataType::kTQ1_0:
      return {256, 48 + 4 + 2};
    case DataType::kTQ2_0:
      return {256, 64 + 2};
    case DataType::kMXFP4:
      return {32, 1 + 16};
  }
  FPTQ_CHECK(false);
  return {};
}

int64_t CheckedMultiply(int64_t a, int64_t b, std::string_view where) {
  int64_t product = 0;
  if (a < 0 || b < 0 || __builtin_mul_overflow(a, b, &product)) {
    throw Error("{}: the size {} * {} is not valid", where, a, b);
  }
  return product;
}

int64_t TensorView::ElementCount() const {
  int64_t count = 1;
  for (const int64_t dim : shape) count = CheckedMultiply(count, dim, "tensor shape");
  return count;
}

bool SameContent(const TensorView& a, const TensorView& b) {
  return a.type == b.type && a.shape == b.shape && a.bytes.size() == b.bytes.size() &&
         std::memcmp(a.bytes.data(), b.bytes.data(), a.bytes.size()) == 0;
}

std::string ShapeString(std::span<const int64_t> shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

// Before the aligned memory stands the pointer that calloc gave. Large memory from calloc is zero
// without being touched, so a KV cache takes what is written to it, not its capacity.
void* AllocateAligned(int64_t bytes) {
  constexpr size_t kCacheLine = 64;
  constexpr size_t kHugePage = size_t{2} << 20;
  FPTQ_CHECK(bytes >= 0);
  if (bytes == 0) return nullptr;
  const size_t alignment = bytes >= int64_t{4} << 20 ? kHugePage : kCacheLine;
  void* const allocated = std::calloc(1, static_cast<size_t>(bytes) + sizeof(void*) + alignment);
  if (allocated == nullptr) throw std::bad_alloc();
  const auto first = reinterpret_cast<uintptr_t>(allocated) + sizeof(void*);
  void* const p = reinterpret_cast<void*>((first + alignment - 1) / alignment * alignment);
  static_cast<void**>(p)[-1] = allocated;
  // Only advice: failing is fine.
  if (alignment == kHugePage) madvise(p, static_cast<size_t>(bytes), MADV_HUGEPAGE);
  return p;
}

void FreeAligned(void* p) {
  if (p != nullptr) std::free(static_cast<void**>(p)[-1]);
}

}  // namespace fptq
