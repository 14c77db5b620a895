#include "base/arena.h"

#include <algorithm>

#include "base/error.h"

namespace fptq {

std::byte* Arena::Allocate(int64_t bytes) {
  constexpr int64_t kPieceBytes = int64_t{32} << 20, kAlignment = 64;
  FPTQ_CHECK(bytes >= 0);
  if (pieces_.empty() || pieces_.back().size() - used_ < bytes) {
    pieces_.emplace_back(std::max(bytes, kPieceBytes));
    used_ = 0;
  }
  std::byte* const p = pieces_.back().data() + used_;
  used_ =
      std::min(pieces_.back().size(), (used_ + bytes + kAlignment - 1) / kAlignment * kAlignment);
  return p;
}

}  // namespace fptq
