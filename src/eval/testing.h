// For tests: the models in testdata/.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/test_paths.h"
#include "files/json_file.h"

namespace fptq {

inline std::filesystem::path TinyPath(std::string_view name) {
  return std::filesystem::path(kTestdata) / "models" / name;
}

// The same for all of them.
inline std::vector<int32_t> GoldenTokens() {
  return ReadJsonFile(TinyPath("tiny-llama-f32") / "golden.json")["token_ids"]
      .get<std::vector<int32_t>>();
}

}  // namespace fptq
