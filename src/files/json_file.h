// JSON that is written.
#pragma once

#include <filesystem>
#include <string>

#include "base/json.h"

namespace fptq {

// The text of `json`, by lines with `indent` spaces a level from 0 on. Strings, which may be the
// names of files, stand there as UTF-8, with U+FFFD for what is ill-formed.
std::string DumpJson(const Json& json, int indent = -1);

// Writes a file whole, in place of one that exists.
void WriteJsonFile(const std::filesystem::path& path, const Json& json);

}  // namespace fptq
