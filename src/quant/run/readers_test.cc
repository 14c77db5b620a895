#include "quant/run/readers.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "base/test_paths.h"
#include "base/test_util.h"
#include "quant/run/quantize.h"

namespace fptq {
namespace {

namespace fs = std::filesystem;

fs::path ModelPath(std::string_view model) { return fs::path(kTestdata) / "models" / model; }

// By name: "" for one that reads it, else what keeps it from that.
std::vector<std::string> ReasonsAgainst(const fs::path& model) {
  std::vector<std::string> reasons;
  for (const Reader& reader : ReadersOf(ModelSource::Open(model))) {
    EXPECT_FALSE(reader.reason.empty());
    reasons.push_back(reader.reads ? "" : reader.reason);
  }
  return reasons;
}
std::vector<std::string> WhyNot(std::string_view model) { return ReasonsAgainst(ModelPath(model)); }

// Of the model quantized with dynamic scales.
std::vector<std::string> WhyNotQuantized(std::string_view model) {
  const TempFolder folder;
  QuantRecipe recipe;
  recipe.policy = PolicyMode::kDynamic;
  recipe.rounding = "weighted";
  recipe.calibration_tokens = 64;
  recipe.sequence_length = 32;
  ThreadPool pool(2);
  QuantizeCheckpoint(ModelPath(model), folder / "out", recipe, {}, pool, {});
  return ReasonsAgainst(folder / "out");
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

// Its linears are Conv1D in transformers, and in vLLM linears as all others.
TEST(ReadersOf, QuantizedGpt2) {
  const auto reasons = WhyNotQuantized("tiny-gpt2");
  EXPECT_NE(reasons[0].find("Conv1D"), std::string::npos) << reasons[0];
  EXPECT_EQ(reasons[1], "");
  EXPECT_EQ(reasons[2], "");
  EXPECT_EQ(WhyNot("tiny-gpt2"), (std::vector<std::string>{"", "", ""}));
}

// vLLM keeps the linears of a shared norm apart: q, k and v have 48 channels, up has 64.
TEST(ReadersOf, QuantizedFalcon) {
  const auto reasons = WhyNotQuantized("tiny-falcon");
  EXPECT_NE(reasons[0].find("its Falcon"), std::string::npos) << reasons[0];
  EXPECT_EQ(reasons[1], "2 of 8 linears have outputs that are no multiple of 32");
  EXPECT_EQ(reasons[2], "");
}

TEST(ReadersOf, TextNamesBoth) {
  EXPECT_EQ(ReadersText({{"a", true, "x"}, {"b", false, "y"}, {"c", true, ""}}), "a, c; not b: y");
  EXPECT_EQ(ReadersText({{"a", false, "x"}, {"b", false, "y"}}), "none; not a: x; not b: y");
}

}  // namespace
}  // namespace fptq
