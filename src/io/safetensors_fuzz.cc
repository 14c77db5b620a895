#include "base/error.h"
#include "base/fuzz/target.h"
#include "base/json.h"
#include "io/gguf_test_util.h"
#include "io/hostile_test_util.h"
#include "io/safetensors.h"

namespace fptq {
namespace {

void Parse(std::string_view file) {
  const std::vector<std::byte> bytes = HeapCopy(file);
  const auto tensors = ParseSafetensors(bytes, "file");
  FPTQ_CHECK(TensorsAreSound(tensors, bytes));
  DequantizeAll(tensors);
}

}  // namespace

FPTQ_FUZZ_TARGET(safetensors, kBytes) { Parse(input); }

// {"header": {...}, "data": bytes behind it}
FPTQ_FUZZ_TARGET(safetensors_header, kJson) {
  const Json json = ParseJson(input, "input");
  const JsonFields fields(json, "input");
  const std::string header = fields.Object("header").dump();
  const auto data = static_cast<size_t>(fields.Int("data", 0, 1 << 16));
  Parse(U64(header.size()) + header + std::string(data, 'x'));
}

}  // namespace fptq
