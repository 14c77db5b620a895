#include "model/positions.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/test_util.h"

namespace fptq {
namespace {

TEST(AlibiSlopes, AreThoseOfThePaperAndOfBloom) {
  EXPECT_EQ(AlibiSlopes(8), (std::vector<float>{0.5f, 0.25f, 0.125f, 0.0625f, 0.03125f, 0.015625f,
                                                0.0078125f, 0.00390625f}));
  EXPECT_EQ(AlibiSlopes(1), std::vector<float>{0.00390625f});
  // transformers, build_alibi_tensor: 4 heads, then every other of 8.
  EXPECT_EQ(AlibiSlopes(6),
            (std::vector<float>{0.25f, 0.0625f, 0.015625f, 0.00390625f, 0.5f, 0.125f}));
}

ModelConfig Rotary() {
  ModelConfig config;
  config.rotary = 128;
  config.rope.theta = 500000;
  return config;
}

std::vector<float> Frequencies(const ModelConfig& config) {
  return RopeFrequencies(config.rope, config.rotary);
}

TEST(RopeFrequencies, LinearScalingDividesThem) {
  ModelConfig config = Rotary();
  const std::vector<float> plain = Frequencies(config);
  config.rope.scaling = {.kind = RopeScaling::Kind::kLinear, .factor = 4};
  const std::vector<float> scaled = Frequencies(config);
  EXPECT_EQ(plain[0], 1);
  for (size_t i = 0; i < plain.size(); ++i) EXPECT_EQ(scaled[i], plain[i] / 4);
}

// As llama.cpp stores LLaMA-3.1's: the plain frequency over the scaled one.
std::vector<float> Factors(double factor) {
  ModelConfig config = Rotary();
  const std::vector<float> plain = Frequencies(config);
  config.rope.scaling = {.kind = RopeScaling::Kind::kLlama3,
                         .factor = factor,
                         .low_freq_factor = 1,
                         .high_freq_factor = 4,
                         .original_positions = 8192};
  std::vector<float> factors = Frequencies(config);
  for (size_t i = 0; i < factors.size(); ++i) factors[i] = plain[i] / factors[i];
  return factors;
}

TEST(Llama3FromFactors, FindsLlama3sParameters) {
  for (const double factor : {8.0, 32.0}) {  // LLaMA-3.1 and 3.2
    const std::vector<float> factors = Factors(factor);
    EXPECT_EQ(factors.front(), 1);
    const RopeScaling found = Llama3FromFactors(factors, Rotary(), "file");
    EXPECT_EQ(found.kind, RopeScaling::Kind::kLlama3);
    EXPECT_NEAR(found.factor, factor, 1e-5 * factor);
    EXPECT_EQ(found.original_positions, 8192);
  }
  EXPECT_EQ(Llama3FromFactors(std::vector<float>(64, 1.0f), Rotary(), "file"), RopeScaling());
}

TEST(Llama3FromFactors, RejectsOthers) {
  std::vector<float> factors = Factors(8);
  factors[30] *= 1.1f;
  EXPECT_ERROR("file: expected LLaMA-3's factors", Llama3FromFactors(factors, Rotary(), "file"));
  EXPECT_ERROR("expected LLaMA-3's",
               Llama3FromFactors(std::vector<float>(64, NAN), Rotary(), "file"));
}

}  // namespace
}  // namespace fptq
