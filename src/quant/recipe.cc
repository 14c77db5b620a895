#include "quant/recipe.h"

#include <array>
#include <limits>
#include <span>
#include <utility>

#include "base/error.h"
#include "base/utf8.h"
#include "quant/round/rounding.h"

namespace fptq {
namespace {

constexpr std::array<std::string_view, 18> kFields = {"group_size",
                                                      "v0",
                                                      "v1",
                                                      "policy",
                                                      "equalization",
                                                      "overrides",
                                                      "weight_bits",
                                                      "symmetric",
                                                      "bits",
                                                      "activation_bits",
                                                      "rounding",
                                                      "calibration",
                                                      "calibration_tokens",
                                                      "head_bits",
                                                      "embedding_bits",
                                                      "sequence_length",
                                                      "seed",
                                                      "kv_bits"};

void CheckFields(const Json& json, std::string_view where) {
  for (const auto& [name, value] : json.items()) {
    bool known = false;
    for (const std::string_view field : kFields) known |= field == name;
    if (!known) throw Error("{}: unknown field '{}'", where, name);
  }
}

constexpr Equalization kEqualizations[] = {Equalization::kNone, Equalization::kLae,
                                           Equalization::kSmoothQuant};

SiteOverride MakeOverride(std::string_view pattern, std::string_view choice,
                          std::string_view where) {
  return {.pattern = Regex(pattern, where, RegexSyntax::kPython),
          .choice = ActChoiceFromName(choice, where)};
}

Json OverridesToJson(std::span<const SiteOverride> overrides) {
  Json json = Json::object();
  for (const SiteOverride& item : overrides) json[item.pattern.text()] = ActChoiceName(item.choice);
  return json;
}

std::vector<SiteOverride> OverridesFromJson(const Json& json, const std::string& where) {
  std::vector<SiteOverride> overrides;
  for (const auto& [pattern, choice] : json.items()) {
    if (!choice.is_string()) {
      throw Error("{}: '{}': expected a string, found {}", where, pattern, choice.type_name());
    }
    overrides.push_back(MakeOverride(pattern, choice.get<std::string>(), where));
  }
  return overrides;
}

}  // namespace

std::string_view PolicyModeName(PolicyMode mode) {
  switch (mode) {
    case PolicyMode::kAuto:
      return "auto";
    case PolicyMode::kPaper:
      return "paper";
    case PolicyMode::kStatic:
      return "static";
    case PolicyMode::kDynamic:
      return "dynamic";
  }
  return {};
}

PolicyMode PolicyModeFromName(std::string_view name, std::string_view where) {
  for (const PolicyMode mode :
       {PolicyMode::kAuto, PolicyMode::kPaper, PolicyMode::kStatic, PolicyMode::kDynamic}) {
    if (name == PolicyModeName(mode)) return mode;
  }
  throw Error("{}: expected auto, paper, static or dynamic, found '{}'", where, name);
}

std::string_view EqualizationName(Equalization equalization) {
  switch (equalization) {
    case Equalization::kNone:
      return "none";
    case Equalization::kLae:
      return "lae";
    case Equalization::kSmoothQuant:
      return "smoothquant";
  }
  return {};
}

Equalization EqualizationFromName(std::string_view name, std::string_view where) {
  for (const Equalization equalization : kEqualizations) {
    if (name == EqualizationName(equalization)) return equalization;
  }
  throw Error("{}: expected none, lae or smoothquant, found '{}'", where, name);
}

std::string ActChoiceName(const ActChoice& choice) {
  if (choice.scheme == ActScheme::kFloat) return "float";
  const std::string scheme = choice.scheme == ActScheme::kStatic ? "static" : "dynamic";
  if (choice.equalization == Equalization::kNone) return scheme;
  return fmt::format("{}_{}", EqualizationName(choice.equalization), scheme);
}

ActChoice ActChoiceFromName(std::string_view name, std::string_view where) {
  std::string names = "float";
  if (name == names) return {Equalization::kNone, ActScheme::kFloat};
  for (const Equalization equalization : kEqualizations) {
    for (const ActScheme scheme : {ActScheme::kStatic, ActScheme::kDynamic}) {
      const ActChoice choice = {equalization, scheme};
      if (name == ActChoiceName(choice)) return choice;
      names += ", " + ActChoiceName(choice);
    }
  }
  throw Error("{}: expected one of {}, found '{}'", where, names, name);
}

SiteOverride ParseOverride(std::string_view text, std::string_view where) {
  const size_t separator = text.rfind('=');
  if (separator == std::string_view::npos) {
    throw Error("{}: expected REGEX=CHOICE, found '{}'", where, text);
  }
  return MakeOverride(text.substr(0, separator), text.substr(separator + 1), where);
}

void Validate(const QuantRecipe& recipe, std::string_view where) {
  const auto check = [&](bool ok, std::string_view field, std::string_view expected, auto found) {
    if (!ok) throw Error("{}: '{}': expected {}, found {}", where, field, expected, found);
  };
  check(recipe.group_size == 32 || recipe.group_size == 64 || recipe.group_size == 128,
        "group_size", "32, 64 or 128", recipe.group_size);
  check(recipe.v0 >= 0 && recipe.v0 <= std::numeric_limits<float>::max(), "v0", "a range from 0 on",
        recipe.v0);
  check(recipe.v1 >= recipe.v0 && recipe.v1 <= std::numeric_limits<float>::max(), "v1",
        "a range from v0 on", recipe.v1);
  check(recipe.weight_bits == 4 || recipe.weight_bits == 8, "weight_bits", "4 or 8",
        recipe.weight_bits);
  check(recipe.bits == 0 || (recipe.bits >= 4 && recipe.bits <= 10), "bits",
        "4 to 10, or 0 for those of group_size and weight_bits", recipe.bits);
  const QuantRecipe defaults;
  check(recipe.bits == 0 || recipe.group_size == defaults.group_size, "group_size",
        "none beside 'bits', which choose it", recipe.group_size);
  check(recipe.bits == 0 || recipe.weight_bits == defaults.weight_bits, "weight_bits",
        "none beside 'bits', which choose them", recipe.weight_bits);
  check(recipe.bits == 0 || recipe.symmetric == defaults.symmetric, "symmetric",
        "none beside 'bits', which choose it", recipe.symmetric);
  check(recipe.head_bits == 8 || recipe.head_bits == 16, "head_bits", "8 or 16", recipe.head_bits);
  check(recipe.embedding_bits == 8 || recipe.embedding_bits == 16, "embedding_bits", "8 or 16",
        recipe.embedding_bits);
  check(recipe.activation_bits == 8 || recipe.activation_bits == 16, "activation_bits", "8 or 16",
        recipe.activation_bits);
  FindRoundingMethod(recipe.rounding, std::string(where) + ": 'rounding'");
  ParseCalibration(recipe.calibration, fmt::format("{}: 'calibration'", where));
  check(recipe.calibration_tokens >= 0 && recipe.calibration_tokens <= 100'000'000,
        "calibration_tokens", "1 to 100000000, or 0 to choose by the model",
        recipe.calibration_tokens);
  check(recipe.sequence_length >= 1 && recipe.sequence_length <= 1'000'000, "sequence_length",
        "1 to 1000000", recipe.sequence_length);
  check(recipe.kv_bits == 8, "kv_bits", "8", recipe.kv_bits);
  for (const SiteOverride& item : recipe.overrides) {
    const std::string utf8 = ReplaceIllFormedUtf8(item.pattern.text());
    check(utf8 == item.pattern.text(), "overrides", "UTF-8", utf8);
  }
}

Json RecipeToJson(const QuantRecipe& recipe) {
  return {{"group_size", recipe.group_size},
          {"v0", recipe.v0},
          {"v1", recipe.v1},
          {"policy", PolicyModeName(recipe.policy)},
          {"equalization", EqualizationName(recipe.equalization)},
          {"overrides", OverridesToJson(recipe.overrides)},
          {"weight_bits", recipe.weight_bits},
          {"symmetric", recipe.symmetric},
          {"bits", recipe.bits},
          {"head_bits", recipe.head_bits},
          {"embedding_bits", recipe.embedding_bits},
          {"activation_bits", recipe.activation_bits},
          {"rounding", recipe.rounding},
          {"calibration", ReplaceIllFormedUtf8(recipe.calibration)},
          {"calibration_tokens", recipe.calibration_tokens},
          {"sequence_length", recipe.sequence_length},
          {"seed", recipe.seed},
          {"kv_bits", recipe.kv_bits}};
}

QuantRecipe RecipeFromJson(const Json& json, std::string_view where) {
  const JsonFields fields(json, std::string(where));
  CheckFields(json, where);
  constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
  QuantRecipe recipe;
  recipe.group_size = fields.IntOr("group_size", recipe.group_size, 0, kMax);
  recipe.v0 = fields.DoubleOr("v0", recipe.v0);
  recipe.v1 = fields.DoubleOr("v1", recipe.v1);
  recipe.policy = PolicyModeFromName(fields.StringOr("policy", PolicyModeName(recipe.policy)),
                                     fields.where() + ": 'policy'");
  recipe.equalization =
      EqualizationFromName(fields.StringOr("equalization", EqualizationName(recipe.equalization)),
                           fields.where() + ": 'equalization'");
  if (fields.Has("overrides")) {
    recipe.overrides =
        OverridesFromJson(fields.Object("overrides"), fields.where() + ": 'overrides'");
  }
  recipe.weight_bits = fields.IntOr("weight_bits", recipe.weight_bits, 0, kMax);
  recipe.symmetric = fields.BoolOr("symmetric", recipe.symmetric);
  recipe.bits = fields.DoubleOr("bits", recipe.bits);
  recipe.head_bits = fields.IntOr("head_bits", recipe.head_bits, 0, kMax);
  recipe.embedding_bits = fields.IntOr("embedding_bits", recipe.embedding_bits, 0, kMax);
  recipe.activation_bits = fields.IntOr("activation_bits", recipe.activation_bits, 0, kMax);
  recipe.rounding = fields.StringOr("rounding", recipe.rounding);
  recipe.calibration = fields.StringOr("calibration", recipe.calibration);
  recipe.calibration_tokens =
      fields.IntOr("calibration_tokens", recipe.calibration_tokens, 0, kMax);
  recipe.sequence_length = fields.IntOr("sequence_length", recipe.sequence_length, 0, kMax);
  recipe.seed = static_cast<uint64_t>(fields.IntOr("seed", 0, 0, kMax));
  recipe.kv_bits = fields.IntOr("kv_bits", recipe.kv_bits, 0, kMax);
  Validate(recipe, where);
  return recipe;
}

}  // namespace fptq
