#include "base/error.h"
#include "base/fuzz/target.h"
#include "base/utf8.h"

namespace fptq {

FPTQ_FUZZ_TARGET(utf8, kBytes) {
  const std::string text = ReplaceIllFormedUtf8(input);
  size_t at = 0;
  while (at < text.size()) {
    const int length = Utf8CharLength(std::string_view(text).substr(at));
    FPTQ_CHECK(length >= 1 && length <= 4);
    at += static_cast<size_t>(length);
  }
  FPTQ_CHECK(at == text.size() && ReplaceIllFormedUtf8(text) == text);
}

}  // namespace fptq
