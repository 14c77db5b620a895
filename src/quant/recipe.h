// Everything that determines a quantized model beside its source.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/regex.h"
#include "quant/calibrate/calibration_mix.h"

namespace fptq {

enum class PolicyMode {
  kAuto,     // by the measured output error of each site
  kPaper,    // by the range of each site: static, LAE + static, or dynamic
  kStatic,   // per-tensor static everywhere
  kDynamic,  // per-token dynamic everywhere
};

enum class Equalization { kNone, kLae, kSmoothQuant };

enum class ActScheme {
  kStatic,   // per tensor, one scale known before running
  kDynamic,  // per token
  kFloat,    // not quantized
};

struct ActChoice {
  Equalization equalization = Equalization::kNone;
  ActScheme scheme = ActScheme::kDynamic;

  bool operator==(const ActChoice&) const = default;
};

// Pins the sites whose LAYER/SITE ("3/mlp_mid") or one of whose modules
// ("model.layers.3.mlp.down_proj") matches the whole pattern, as Python's re.fullmatch does.
struct SiteOverride {
  Regex pattern;
  ActChoice choice;
};

struct QuantRecipe {
  int64_t group_size = 128;  // 32, 64 or 128; falls to one that divides a linear's K
  double v0 = 15;            // range of an activation up to which it is static as it is
  double v1 = 150;           // range from which it is dynamic
  PolicyMode policy = PolicyMode::kAuto;
  Equalization equalization = Equalization::kLae;
  std::vector<SiteOverride> overrides;  // the first that matches counts
  int64_t weight_bits = 4;              // 4 or 8
  bool symmetric = true;                // of 4-bit weights: their groups have no zero points
  // What a weight of the linears may take on average, scales included, 0 or from 4 to 10: group
  // sizes, zero points and 8 bits go where they lose least (weight_formats.h). 0: as group_size,
  // weight_bits and symmetric, which are otherwise as they are here, say.
  double bits = 0;
  // Of lm_head and of the embedding: 8, a scale a row, or 16: the source's type. A head that is the
  // embedding is stored as that; one whose inputs are no multiple of 32 stays float.
  int64_t head_bits = 8, embedding_bits = 16;
  int64_t activation_bits = 8;                // 8, or 16: float
  std::string rounding = "gptq";              // a row of AllRoundingMethods
  std::string calibration{kSelfCalibration};  // as ParseCalibration reads it
  int64_t calibration_tokens = 0;             // 0: as many as ChosenTokens says
  int64_t sequence_length = 512;              // of a calibration sequence, in tokens
  uint64_t seed = 0;                          // of what is random in calibration
  int64_t kv_bits = 8;
};

// Error naming `where` and the field if a value is out of bounds.
void Validate(const QuantRecipe& recipe, std::string_view where);

// In the path of a text, U+FFFD stands for what is no UTF-8.
Json RecipeToJson(const QuantRecipe& recipe);
// Absent fields keep their default; an unknown one is an Error. Validated.
QuantRecipe RecipeFromJson(const Json& json, std::string_view where);

// Names on the command line and in JSON: "auto", "paper", "static", "dynamic"; "none", "lae",
// "smoothquant"; "float", "static", "dynamic", "lae_static", "lae_dynamic", ...
std::string_view PolicyModeName(PolicyMode mode);
PolicyMode PolicyModeFromName(std::string_view name, std::string_view where);
std::string_view EqualizationName(Equalization equalization);
Equalization EqualizationFromName(std::string_view name, std::string_view where);
std::string ActChoiceName(const ActChoice& choice);
ActChoice ActChoiceFromName(std::string_view name, std::string_view where);

// "REGEX=CHOICE". Error naming `where` if either is bad.
SiteOverride ParseOverride(std::string_view text, std::string_view where);

}  // namespace fptq
