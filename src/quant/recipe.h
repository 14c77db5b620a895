// Everything that determines a quantized model beside its source.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/json.h"

namespace fptq {

enum class PolicyMode {
  kPaper,    // by the range of each site: static, LAE + static, or dynamic
  kStatic,   // per-tensor static everywhere, nothing equalized
  kDynamic,  // per-token dynamic everywhere, nothing equalized
};

enum class Equalization { kLae, kNone };

inline constexpr std::string_view kRandomCalibration = "random";

struct QuantRecipe {
  int64_t group_size = 128;  // 32, 64 or 128; falls to one that divides a linear's K
  double v0 = 15;            // range of an activation up to which it is static as it is
  double v1 = 150;           // range from which it is dynamic
  PolicyMode policy = PolicyMode::kPaper;
  Equalization equalization = Equalization::kLae;
  std::string rounding = "weighted";            // a row of AllRoundingMethods
  std::string calibration{kRandomCalibration};  // "random" or the path of a text file
  int64_t calibration_tokens = 8192;
  int64_t sequence_length = 512;  // of a calibration sequence, in tokens
  uint64_t seed = 0;              // of random calibration
  int64_t kv_bits = 8;
};

// Error naming `where` and the field if a value is out of bounds.
void Validate(const QuantRecipe& recipe, std::string_view where);

Json RecipeToJson(const QuantRecipe& recipe);
// Absent fields keep their default; an unknown one is an Error. Validated.
QuantRecipe RecipeFromJson(const Json& json, std::string_view where);

// Names on the command line and in JSON: "paper", "static", "dynamic"; "lae", "none".
std::string_view PolicyModeName(PolicyMode mode);
PolicyMode PolicyModeFromName(std::string_view name, std::string_view where);
std::string_view EqualizationName(Equalization equalization);
Equalization EqualizationFromName(std::string_view name, std::string_view where);

}  // namespace fptq
