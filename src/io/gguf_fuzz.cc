#include "base/error.h"
#include "base/fuzz/target.h"
#include "io/gguf.h"
#include "io/hostile_test_util.h"

namespace fptq {

FPTQ_FUZZ_TARGET(gguf, kBytes) {
  const std::vector<std::byte> bytes = HeapCopy(input);
  const GgufContents contents = ParseGguf(bytes, "file");
  FPTQ_CHECK(TensorsAreSound(contents.tensors, bytes));
  DequantizeAll(contents.tensors);
  ParseGgufSplit(contents.metadata, "file");
}

}  // namespace fptq
