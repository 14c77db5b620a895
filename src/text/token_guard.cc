#include "text/token_guard.h"

#include <algorithm>

namespace fptq {

bool TokenGuard::Admits(const AddedToken& token, size_t begin, size_t end) const {
  auto passage = std::ranges::upper_bound(passages_, begin, {}, &Passage::end);
  for (size_t at = begin; at < end && passage != passages_.end(); at = (passage++)->end) {
    switch (passage->origin) {
      case Origin::kTemplate:
        break;
      case Origin::kModel:
        if (token.special) return false;
        break;
      case Origin::kUser:
        if (token.special || std::ranges::binary_search(control_tokens_, token.id)) return false;
        break;
    }
  }
  return true;
}

}  // namespace fptq
