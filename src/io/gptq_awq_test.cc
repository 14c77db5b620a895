#include "io/gptq_awq.h"

#include <gtest/gtest.h>

#include <vector>

#include "base/test_util.h"
#include "io/checkpoint.h"
#include "io/packed_linear.h"

namespace fptq {
namespace {

// A linear "a.m" of [8, 32] in one group, and the float linear "a.f".
class FakeCheckpoint : public Checkpoint {
 public:
  FakeCheckpoint() : Checkpoint(Format::kHuggingFace, "DIR") {
    Set("a.m.qweight", DataType::kI32, {4, 8}, gptq);
    Set("a.m.qzeros", DataType::kI32, {1, 1}, zeros);
    Set("a.m.scales", DataType::kF32, {1, 8}, scales);
    Set("a.f.weight", DataType::kF32, {1, 8}, scales);
  }
  template <typename T>
  void Set(const std::string& name, DataType type, std::vector<int64_t> dims, const T& values) {
    tensors_[name] = {type, std::move(dims), std::as_bytes(std::span(values))};
  }

  std::vector<int32_t> gptq = std::vector<int32_t>(32, 0x76543210);
  std::vector<int32_t> zeros = {0x76543210};
  std::vector<float> scales = {1, 2, 3, 4, 5, 6, 7, 8};
};

struct Row {
  std::vector<int8_t> q = std::vector<int8_t>(32);
  std::vector<int16_t> zeros = std::vector<int16_t>(1);
  std::vector<float> scales = std::vector<float>(1);
};

QuantizationConfig Parse(const char* json, const Checkpoint& checkpoint = FakeCheckpoint()) {
  return ParseGptqOrAwq(ParseJson(json, "test"), checkpoint, "config.json");
}

Row ReadRow(const char* json, const FakeCheckpoint& checkpoint, int64_t channel) {
  const auto how = Parse(json, checkpoint).Find("a.m");
  Row row;
  GetPackedLinear(checkpoint, "a.m", *how, 8, 32).ReadRow(channel, row.q, row.zeros, row.scales);
  return row;
}

TEST(GptqAwqTest, LinearsWithIntegersAreQuantized) {
  const QuantizationConfig config = Parse(R"({"bits": 4, "group_size": -1})");
  EXPECT_EQ(config.name(), "gptq");
  EXPECT_TRUE(config.Find("a.m"));
  EXPECT_FALSE(config.Find("a.f"));
  EXPECT_EQ(Parse(R"({"w_bit": 4, "q_group_size": 64, "zero_point": true})").name(), "awq");
  EXPECT_TRUE(IsGptqOrAwq(Json{{"bits", 4}}, "f"));
  EXPECT_TRUE(IsGptqOrAwq(Json{{"quant_method", "awq"}}, "f"));
  EXPECT_FALSE(IsGptqOrAwq(Json{{"quant_method", "fp8"}}, "f"));
}

TEST(GptqAwqTest, RowsOfGptq) {
  const Row row = ReadRow(R"({"bits": 4, "group_size": 32})", FakeCheckpoint(), 3);
  EXPECT_EQ(row.q[0], 0 - 8);  // along the inputs
  EXPECT_EQ(row.q[9], 1 - 8);
  EXPECT_EQ(row.zeros[0], 3 + 1 - 8);
  EXPECT_EQ(row.scales[0], 4);
  EXPECT_EQ(ReadRow(R"({"bits": 4, "group_size": 32, "checkpoint_format": "gptq_v2"})",
                    FakeCheckpoint(), 3)
                .zeros[0],
            3 - 8);
  FakeCheckpoint checkpoint;
  checkpoint.zeros = {0x7777777f};
  EXPECT_EQ(ReadRow(R"({"bits": 4, "group_size": 32})", checkpoint, 0).zeros[0], 8);
  checkpoint.zeros = {0x77777777};
  const auto how = Parse(R"({"bits": 4, "group_size": 32})", checkpoint).Find("a.m");
  EXPECT_TRUE(GetPackedLinear(checkpoint, "a.m", *how, 8, 32).quantization.symmetric);
}

TEST(GptqAwqTest, RowsOfAwq) {
  FakeCheckpoint checkpoint;
  checkpoint.Set("a.m.qweight", DataType::kI32, {32, 1}, checkpoint.gptq);
  constexpr const char* kAwq = R"({"quant_method": "awq", "bits": 4, "group_size": 32})";
  // The fields hold the outputs 0, 2, 4, 6, 1, 3, 5, 7.
  EXPECT_EQ(ReadRow(kAwq, checkpoint, 2).q[5], 1 - 8);
  EXPECT_EQ(ReadRow(kAwq, checkpoint, 1).q[31], 4 - 8);
  EXPECT_EQ(ReadRow(kAwq, checkpoint, 7).zeros[0], 7 - 8);
  EXPECT_EQ(ReadRow(kAwq, checkpoint, 7).scales[0], 8);
}

TEST(GptqAwqTest, WhatCannotRunIsAnError) {
  EXPECT_ERROR("config.json: bits: expected 4 or 8, found 3", Parse(R"({"bits": 3})"));
  EXPECT_ERROR("checkpoint_format: 'marlin' is not supported",
               Parse(R"({"bits": 4, "checkpoint_format": "marlin"})"));
  EXPECT_ERROR("dynamic", Parse(R"({"bits": 4, "dynamic": {"-:.*": {}}})"));
  EXPECT_ERROR("group_size", Parse(R"({"bits": 4, "group_size": 0})"));
  EXPECT_ERROR("bits: expected 4", Parse(R"({"quant_method": "awq", "bits": 8})"));
  EXPECT_ERROR("version: 'gemv'", Parse(R"({"quant_method": "awq", "version": "gemv"})"));
  EXPECT_ERROR("zero_point", Parse(R"({"quant_method": "awq", "zero_point": false})"));
}

}  // namespace
}  // namespace fptq
