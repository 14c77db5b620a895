#include "quant/policy.h"

#include <gtest/gtest.h>

#include "base/half.h"

namespace fptq {
namespace {

TEST(ChooseScheme, FollowsThePaper) {
  const QuantRecipe recipe;  // v0 = 15, v1 = 150
  const auto scheme = [&](double range, bool can_equalize) {
    return ChooseScheme(recipe, range, can_equalize).scheme;
  };
  EXPECT_EQ(scheme(0, true), ActScheme::kStatic);
  EXPECT_EQ(scheme(15, true), ActScheme::kStatic);
  EXPECT_EQ(scheme(15.01, true), ActScheme::kLaeStatic);
  EXPECT_EQ(scheme(149.9, true), ActScheme::kLaeStatic);
  EXPECT_EQ(scheme(150, true), ActScheme::kDynamic);
  EXPECT_EQ(scheme(15, false), ActScheme::kStatic);
  EXPECT_EQ(scheme(100, false), ActScheme::kDynamic);
  EXPECT_EQ(scheme(1000, false), ActScheme::kDynamic);
  EXPECT_NE(ChooseScheme(recipe, 100, false).reason, ChooseScheme(recipe, 1000, false).reason);
}

TEST(ChooseScheme, CanBeForced) {
  QuantRecipe recipe;
  recipe.equalization = Equalization::kNone;
  EXPECT_EQ(ChooseScheme(recipe, 100, true).scheme, ActScheme::kDynamic);
  for (const double range : {1.0, 100.0, 1000.0}) {
    recipe.policy = PolicyMode::kStatic;
    EXPECT_EQ(ChooseScheme(recipe, range, true).scheme, ActScheme::kStatic);
    recipe.policy = PolicyMode::kDynamic;
    EXPECT_EQ(ChooseScheme(recipe, range, true).scheme, ActScheme::kDynamic);
  }
}

TEST(StaticScale, IsWhatTheTypeStores) {
  EXPECT_EQ(StaticScale(127.5, DataType::kF32), 1);
  EXPECT_EQ(StaticScale(10, DataType::kF32), static_cast<float>(10 / 127.5));
  EXPECT_EQ(StaticScale(10, DataType::kBF16), BF16ToF32(F32ToBF16(static_cast<float>(10 / 127.5))));
  EXPECT_EQ(StaticScale(0, DataType::kF16), 1);
  EXPECT_EQ(StaticScale(1e-9, DataType::kF16), 1);
}

}  // namespace
}  // namespace fptq
