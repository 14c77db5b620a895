// Memory for what is read once a step.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <vector>

#include "base/tensor.h"
#include "files/scratch_file.h"

namespace fptq {

// Hands out zeroed memory from few large pieces, which the kernel can put on huge pages: a decode
// step reads each weight once, and with small pages it would miss the TLB every 4 KB. All of it is
// freed with the arena. Not for several threads at a time.
class Arena {
 public:
  Arena() = default;
  // The memory is that of files in `folder`, which nobody sees and which are gone with the arena,
  // or with the process: the kernel can write it back and take the pages for something else.
  explicit Arena(std::filesystem::path folder) : folder_(std::move(folder)) {}

  // Aligned to 64 bytes.
  std::byte* Allocate(int64_t bytes);

 private:
  struct Piece {
    AlignedBuffer<std::byte> memory;  // a view of `file` if there is one
    ScratchFile file;
  };

  std::filesystem::path folder_;  // empty: ordinary memory
  std::vector<Piece> pieces_;
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
