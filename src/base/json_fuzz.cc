#include "base/error.h"
#include "base/fuzz/target.h"
#include "base/json.h"

namespace fptq {

// What was parsed and written again is the same, whatever the text was.
FPTQ_FUZZ_TARGET(json, kBytes) {
  const Json json = ParseJson(input, "file");
  const std::string text = json.dump();
  FPTQ_CHECK(ParseJson(text, "file").dump() == text);
  ParseJson(input, "file", DuplicateKeys::kError);
}

}  // namespace fptq
