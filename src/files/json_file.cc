#include "base/json_file.h"

#include "base/atomic_write.h"

namespace fptq {

std::string DumpJson(const Json& json, int indent) {
  return json.dump(indent, ' ', /*ensure_ascii=*/false, Json::error_handler_t::replace);
}

void WriteJsonFile(const std::filesystem::path& path, const Json& json) {
  WriteFileAtomically(path, DumpJson(json, 2) + "\n");
}

}  // namespace fptq
