#include "quant/recipe.h"

#include <gtest/gtest.h>

#include "base/test_util.h"

namespace fptq {
namespace {

constexpr std::string_view kWhere = "recipe.json";

TEST(Recipe, RoundTripsThroughJson) {
  QuantRecipe recipe;
  recipe.group_size = 64;
  recipe.v0 = 1.5;
  recipe.v1 = 1e3;
  recipe.policy = PolicyMode::kDynamic;
  recipe.equalization = Equalization::kNone;
  recipe.calibration = "text.txt";
  recipe.calibration_tokens = 100;
  recipe.sequence_length = 10;
  recipe.seed = 7;
  recipe.overrides = {ParseOverride("0/.*=lae_static", kWhere),
                      ParseOverride("1/mlp_in=float", kWhere)};
  recipe.weight_bits = 8;
  recipe.activation_bits = 16;
  recipe.rounding = "rtn";
  const Json json = RecipeToJson(recipe);
  EXPECT_EQ(RecipeToJson(RecipeFromJson(ParseJson(json.dump(), kWhere), kWhere)), json);
  EXPECT_NE(json, RecipeToJson(QuantRecipe()));
}

TEST(Recipe, SaysWhetherThereAreZeroPoints) {
  EXPECT_TRUE(RecipeFromJson(ParseJson("{}", kWhere), kWhere).symmetric);
  const QuantRecipe recipe = RecipeFromJson(ParseJson("{\"symmetric\": false}", kWhere), kWhere);
  EXPECT_FALSE(recipe.symmetric);
  EXPECT_FALSE(RecipeFromJson(RecipeToJson(recipe), kWhere).symmetric);
}

TEST(Recipe, AbsentFieldsKeepTheirDefaults) {
  const QuantRecipe recipe = RecipeFromJson(ParseJson("{\"v0\": 3}", kWhere), kWhere);
  EXPECT_EQ(recipe.v0, 3);
  EXPECT_EQ(recipe.v1, 150);
  EXPECT_EQ(recipe.group_size, 128);
  EXPECT_EQ(recipe.calibration, kSelfCalibration);
}

TEST(Recipe, NamesBadFields) {
  const auto expect_error = [](std::string_view text, const char* part) {
    EXPECT_ERROR(part, RecipeFromJson(ParseJson(text, kWhere), kWhere));
  };
  expect_error("[]", "expected an object");
  expect_error(R"({"grup_size": 64})", "unknown field 'grup_size'");
  expect_error(R"({"group_size": 48})", "'group_size': expected 32, 64 or 128, found 48");
  expect_error(R"({"group_size": 64.5})", "'group_size': expected an integer");
  expect_error(R"({"v0": -1})", "'v0'");
  expect_error(R"({"v0": 20, "v1": 10})", "'v1': expected a range from v0 on, found 10");
  expect_error(R"({"policy": "best"})",
               "'policy': expected auto, paper, static or dynamic, found 'best'");
  expect_error(R"({"equalization": "yes"})",
               "'equalization': expected none, lae or smoothquant, found 'yes'");
  expect_error(R"({"calibration": ""})", "'calibration'");
  expect_error(R"({"calibration_tokens": -1})", "'calibration_tokens'");
  expect_error(R"({"sequence_length": 0})", "'sequence_length'");
  expect_error(R"({"seed": -1})", "'seed'");
  expect_error(R"({"overrides": {"(": "static"}})", "regular expression");
  expect_error(R"({"overrides": {"a": "fast"}})", "expected one of float, static, dynamic");
  expect_error(R"({"weight_bits": 3})", "'weight_bits': expected 4 or 8, found 3");
  expect_error(R"({"bits": 3.9})", "'bits': expected 4 to 10");
  expect_error(R"({"bits": 4.25, "group_size": 64})", "'group_size': expected none beside 'bits'");
  expect_error(R"({"bits": 4.25, "weight_bits": 8})", "'weight_bits': expected none beside 'bits'");
  expect_error(R"({"symmetric": 1})", "'symmetric': expected true or false");
  expect_error(R"({"symmetric": false, "bits": 5})", "'symmetric': expected none beside 'bits'");
  expect_error(R"({"activation_bits": 4})", "'activation_bits': expected 8 or 16, found 4");
  expect_error(R"({"rounding": "up"})", "'rounding': expected one of rtn, weighted, gptq");
  expect_error(R"({"kv_bits": 4})", "'kv_bits': expected 8, found 4");
}

// Whatever stands in a field, there is a valid recipe or one line that names the field.
TEST(Recipe, TakesOrNamesWhateverAFieldHolds) {
  const Json fields = RecipeToJson(QuantRecipe());
  for (const auto& [name, value] : fields.items()) {
    for (const char* hostile : {"null",
                                "true",
                                "[]",
                                "{}",
                                "[1]",
                                R"({"a": 1})",
                                R"("")",
                                R"("x")",
                                R"("\u0000")",
                                "-1",
                                "0",
                                "0.5",
                                "-0.0",
                                "1e30",
                                "-1e30",
                                "1e-320",
                                "9223372036854775807",
                                "9223372036854775808",
                                "18446744073709551615",
                                "99999999999999999999"}) {
      const std::string text = fmt::format(R"({{"{}": {}}})", name, hostile);
      const std::string error =
          ErrorOf([&] { Validate(RecipeFromJson(ParseJson(text, kWhere), kWhere), kWhere); });
      if (error.empty()) continue;
      EXPECT_EQ(error.find(kWhere), 0u) << text << ": " << error;
      EXPECT_NE(error.find(name), std::string::npos) << text << ": " << error;
      EXPECT_EQ(error.find('\n'), std::string::npos) << text;
    }
    // These are not JSON at all, or numbers that no double holds.
    for (const char* hostile : {"NaN", "Infinity", "-Infinity", "1e999", "0x10", "", "1,"}) {
      EXPECT_ERROR("not JSON", ParseJson(fmt::format(R"({{"{}": {}}})", name, hostile), kWhere));
    }
  }
}

}  // namespace
}  // namespace fptq
