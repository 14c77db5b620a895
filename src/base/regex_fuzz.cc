#include "base/error.h"
#include "base/fuzz/target.h"
#include "base/regex.h"
#include "base/utf8.h"

namespace fptq {

// A pattern, a line end, a text.
FPTQ_FUZZ_TARGET(regex, kBytes) {
  const size_t end = std::min(input.find('\n'), input.size());
  const std::string text = ReplaceIllFormedUtf8(input.substr(end));
  const Regex regex(input.substr(0, end), "pattern", RegexSyntax::kOniguruma);
  size_t last = 0;
  regex.FindAll(text, [&](size_t match_begin, size_t match_end) {
    FPTQ_CHECK(last <= match_begin && match_begin <= match_end && match_end <= text.size());
    last = match_end;
  });
}

}  // namespace fptq
