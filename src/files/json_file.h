// JSON in files.
#pragma once

#include <filesystem>

#include "base/json.h"

namespace fptq {

// Reads and parses a whole file of at most 1 GiB. Errors name it.
Json ReadJsonFile(const std::filesystem::path& path);

// Writes a file whole, in place of one that exists.
void WriteJsonFile(const std::filesystem::path& path, const Json& json);

}  // namespace fptq
