#include "quant/readers.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/test_paths.h"

namespace fptq {
namespace {

// By name: "" for one that reads it, else what keeps it from that.
std::vector<std::string> WhyNot(std::string_view model) {
  std::vector<std::string> reasons;
  for (const Reader& reader :
       ReadersOf(ModelSource::Open(fmt::format("{}/models/{}", kTestdata, model)))) {
    EXPECT_FALSE(reader.reason.empty());
    reasons.push_back(reader.reads ? "" : reader.reason);
  }
  return reasons;
}

TEST(ReadersOf, FloatModels) {
  EXPECT_EQ(WhyNot("tiny-llama-f32"), (std::vector<std::string>{"", "", ""}));
  EXPECT_EQ(WhyNot("tiny-llama-gguf/model.gguf")[0], "");
  EXPECT_NE(WhyNot("tiny-llama-gguf/model.gguf")[1], "");
}

TEST(ReadersOf, StaticInputsOfFourBitWeights) {
  const auto reasons = WhyNot("tiny-llama-w4a8");
  EXPECT_EQ(reasons[0], "");
  EXPECT_NE(reasons[1].find("of 14 linears have static int8 inputs"), std::string::npos)
      << reasons[1];
  EXPECT_EQ(reasons[1], reasons[2]);
}

TEST(ReadersOf, TextNamesBoth) {
  EXPECT_EQ(ReadersText({{"a", true, "x"}, {"b", false, "y"}, {"c", true, ""}}), "a, c; not b: y");
}

}  // namespace
}  // namespace fptq
