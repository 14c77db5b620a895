#include "base/json.h"

#include <gtest/gtest.h>

#include "base/test_util.h"

namespace fptq {
namespace {

TEST(JsonTest, ParsesAndKeepsOrder) {
  const std::string text = R"({"b":[1,-2,2.5,true,null,"x\n"],"a":{"c":{},"d":[]}})";
  EXPECT_EQ(ParseJson(text, "f").dump(), text);
  EXPECT_EQ(ParseJson("7", "f"), Json(7));
}

TEST(JsonTest, ErrorsSayWhere) {
  EXPECT_ERROR("x.json: not JSON at byte 1: ", ParseJson("", "x.json"));
  EXPECT_ERROR("x.json: not JSON at byte", ParseJson("{\"a\": 1", "x.json"));
  EXPECT_ERROR("x.json: not JSON at byte", ParseJson("{} {}", "x.json"));
  EXPECT_ERROR("x.json: not JSON at byte", ParseJson("\"\xff\"", "x.json"));
  EXPECT_ERROR("x.json: not JSON at byte", ParseJson("1e999", "x.json"));
  EXPECT_ERROR("not JSON", ParseJson("{\"" + std::string(5000, 'a') + "\n", "x.json"));
}

TEST(JsonTest, DepthIsBounded) {
  const auto nested = [](size_t depth) {
    return std::string(depth, '[') + std::string(depth, ']');
  };
  EXPECT_NO_THROW(ParseJson(nested(128), "x"));
  EXPECT_ERROR("nested deeper than 128", ParseJson(nested(129), "x"));
  EXPECT_ERROR("nested deeper than 128", ParseJson(std::string(1000000, '['), "x"));
}

TEST(JsonTest, DuplicateKeys) {
  const std::string text = R"({"a":1,"b":2,"a":3})";
  EXPECT_EQ(ParseJson(text, "x").dump(), R"({"b":2,"a":3})");
  EXPECT_ERROR("x: the name 'a' stands there twice", ParseJson(text, "x", DuplicateKeys::kError));
}

TEST(JsonTest, LargeObjectsTakeLinearTime) {
  std::string text = "{";
  for (int i = 0; i < 300000; ++i) text += fmt::format("{}\"token{}\":{}", i ? "," : "", i, i);
  EXPECT_EQ(ParseJson(text + "}", "x").size(), 300000u);  // minutes if it were quadratic
}

TEST(JsonFieldsTest, Reads) {
  const Json json =
      ParseJson(R"({"i":-3,"d":2.5,"b":true,"s":"t","o":{"x":1},"a":[1],"n":null})", "f");
  const JsonFields f(json, "f");
  EXPECT_EQ(f.Int("i", -10, 10), -3);
  EXPECT_EQ(f.IntOr("none", 7, 0, 1), 7);
  EXPECT_EQ(f.IntOr("n", 7, 0, 1), 7);
  EXPECT_EQ(f.Double("d"), 2.5);
  EXPECT_EQ(f.Double("i"), -3);
  EXPECT_EQ(f.DoubleOr("none", 1), 1);
  EXPECT_TRUE(f.BoolOr("b", false));
  EXPECT_EQ(f.String("s"), "t");
  EXPECT_EQ(f.StringOr("none", "u"), "u");
  EXPECT_EQ(f.Object("o").size(), 1u);
  EXPECT_EQ(f.Array("a").size(), 1u);
  EXPECT_TRUE(f.Has("i"));
  EXPECT_FALSE(f.Has("n"));
}

TEST(JsonFieldsTest, Refuses) {
  const Json json = ParseJson(R"({"i":3,"f":3.0,"s":"3","big":18446744073709551615,"long":")" +
                                  std::string(999, 'a') + R"("})",
                              "f");
  const JsonFields f(json, "c.json");
  EXPECT_ERROR("c.json: 'none' is missing", f.Int("none", 0, 1));
  EXPECT_ERROR("c.json: 'i': expected an integer from 4 to 9, found 3", f.Int("i", 4, 9));
  EXPECT_ERROR("found 3.0", f.Int("f", 0, 9));
  EXPECT_ERROR("found \"3\"", f.Int("s", 0, 9));
  EXPECT_ERROR("found 18446744073709551615", f.Int("big", INT64_MIN, INT64_MAX));
  EXPECT_ERROR("expected a number", f.Double("s"));
  EXPECT_ERROR("expected true or false", f.BoolOr("i", true));
  EXPECT_ERROR("expected a string", f.String("i"));
  EXPECT_ERROR("expected an object", f.Object("i"));
  EXPECT_ERROR("expected an array", f.Array("i"));
  EXPECT_LT(ErrorOf([&] { f.Int("long", 0, 1); }).size(), 150u);
  EXPECT_ERROR("x: expected an object, found array", JsonFields(Json::array(), "x"));
}

}  // namespace
}  // namespace fptq
