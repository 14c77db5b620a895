// What a command finds out, as a text for people and as JSON beside it.
#pragma once

#include <filesystem>
#include <span>
#include <string_view>

#include "base/json.h"
#include "files/paths.h"

namespace fptq {

struct ResultFiles {
  std::filesystem::path text, json;
};

// Error if WriteResultFiles could not write there, or if that would replace what the same command
// did not write (then the JSON is an object with `fields`) or one of `inputs`.
void CheckResultFiles(const ResultFiles& files, std::span<const std::string_view> fields,
                      const InputFiles& inputs);

void WriteResultFiles(const ResultFiles& files, std::string_view text, const Json& json);

}  // namespace fptq
