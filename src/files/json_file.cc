#include "files/json_file.h"

#include "base/error.h"
#include "base/rethrow.h"
#include "files/atomic_write.h"
#include "files/text_file.h"

namespace fptq {

Json ReadJsonFile(const std::filesystem::path& path) try {
  constexpr size_t kMaxBytes = size_t{1} << 30;
  const TextFile file(path);
  if (file.text().size() > kMaxBytes) {
    throw Error("{}: expected at most {} bytes of JSON, found {}", path.string(), kMaxBytes,
                file.text().size());
  }
  return ParseJson(file.text(), path.string());
} catch (...) {
  RethrowNaming(path.string());
}

void WriteJsonFile(const std::filesystem::path& path, const Json& json) {
  WriteFileAtomically(path, DumpJson(json, 2) + "\n");
}

}  // namespace fptq
