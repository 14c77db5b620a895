#include "cli/result_files.h"

#include <algorithm>

#include "base/error.h"
#include "files/atomic_write.h"
#include "files/json_file.h"
#include "files/mapped_file.h"

namespace fptq {
namespace {

namespace fs = std::filesystem;

bool HasFields(const fs::path& path, std::span<const std::string_view> fields) {
  if (!Exists(path)) return false;
  const MappedFile file(path);
  const std::string_view text(reinterpret_cast<const char*>(file.bytes().data()),
                              file.bytes().size());
  try {
    const Json json = ParseJson(text, path.string());
    return json.is_object() &&
           std::ranges::all_of(fields, [&](auto field) { return json.contains(field); });
  } catch (const Error&) {
    return false;
  }
}

}  // namespace

void CheckResultFiles(const ResultFiles& files, std::span<const std::string_view> fields,
                      const InputFiles& inputs) {
  for (const fs::path& path : {files.text, files.json}) {
    if (inputs.Contains(path)) {
      throw Error("{}: expected an output other than what is read", path.string());
    }
    if (Exists(path) && !HasFields(files.json, fields)) {
      throw Error("{}: exists, and {} is not of an earlier run", path.string(),
                  files.json.string());
    }
    CheckOutputFile(path, IfExists::kReplace);
  }
}

// The JSON first, as it says whose both are.
void WriteResultFiles(const ResultFiles& files, std::string_view text, const Json& json) {
  WriteJsonFile(files.json, json);
  WriteFileAtomically(files.text, text);
}

}  // namespace fptq
