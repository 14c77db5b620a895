// Memory for what is read once a step.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/tensor.h"

namespace fptq {

// Hands out zeroed memory from few large pieces, which the kernel can put on huge pages: a decode
// step reads each weight once, and with small pages it would miss the TLB every 4 KB. All of it is
// freed with the arena. Not for several threads at a time.
class Arena {
 public:
  // Aligned to 64 bytes.
  std::byte* Allocate(int64_t bytes);

 private:
  std::vector<AlignedBuffer<std::byte>> pieces_;
  int64_t used_ = 0;  // of the last piece
};

// A buffer in `arena`, or with memory of its own if there is none.
template <typename T>
AlignedBuffer<T> MakeBuffer(int64_t size, Arena* arena) {
  if (arena == nullptr) return AlignedBuffer<T>(size);
  const int64_t bytes = CheckedMultiply(size, sizeof(T), "buffer");
  return AlignedBuffer<T>::View(reinterpret_cast<T*>(arena->Allocate(bytes)), size);
}

}  // namespace fptq
