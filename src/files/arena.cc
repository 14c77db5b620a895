#include "files/arena.h"

#include <algorithm>

#include "base/error.h"

namespace fptq {

std::byte* Arena::Allocate(int64_t bytes) {
  constexpr int64_t kPieceBytes = int64_t{32} << 20, kAlignment = 64;
  FPTQ_CHECK(bytes >= 0);
  if (pieces_.empty() || pieces_.back().memory.size() - used_ < bytes) {
    const int64_t size = std::max(bytes, kPieceBytes);
    Piece& piece = pieces_.emplace_back();
    if (folder_.empty()) {
      piece.memory.Resize(size);
    } else {
      piece.file = ScratchFile(folder_, size);
      piece.memory = AlignedBuffer<std::byte>::View(piece.file.bytes().data(), size);
    }
    used_ = 0;
  }
  std::byte* const p = pieces_.back().memory.data() + used_;
  used_ = std::min(pieces_.back().memory.size(),
                   (used_ + bytes + kAlignment - 1) / kAlignment * kAlignment);
  return p;
}

}  // namespace fptq
