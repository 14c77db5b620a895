#include "io/packed_linear.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "base/test_util.h"

namespace fptq {
namespace {

// A checkpoint in memory, with one linear of [2, 32].
class FakeCheckpoint : public Checkpoint {
 public:
  FakeCheckpoint() : Checkpoint(Format::kHuggingFace, "DIR") {
    std::iota(words.begin(), words.end(), 0x76543210);
    Set("m.weight_packed", DataType::kI32, {2, 4}, words);
    Set("m.weight_scale", DataType::kF32, {2, 1}, scales);
    Set("m.weight_shape", DataType::kI64, {2}, shape);
    Set("m.input_scale", DataType::kF32, {1}, input_scale);
  }

  template <typename T>
  void Set(const std::string& name, DataType type, std::vector<int64_t> dims, const T& values) {
    tensors_[name] = {type, std::move(dims), std::as_bytes(std::span(values))};
  }
  void Erase(const std::string& name) { tensors_.erase(name); }

  std::vector<int32_t> words = std::vector<int32_t>(8);
  std::vector<float> scales = {0.5f, -0.25f};
  std::vector<int64_t> shape = {2, 32};
  std::vector<float> input_scale = {0.125f};
  std::vector<uint32_t> zeros = {0x2d};
};

constexpr LinearQuantization kStatic32 = {32, ActivationQuantization::kStaticTensor};

TEST(PackedLinear, ReadsRows) {
  const FakeCheckpoint checkpoint;
  const PackedLinear linear = GetPackedLinear(checkpoint, "m", kStatic32, 2, 32);
  EXPECT_EQ(linear.input_scale, 0.125f);
  std::vector<int8_t> q(32);
  std::vector<int16_t> zeros(1);
  std::vector<float> scales(1);
  linear.ReadRow(1, q, zeros, scales);
  EXPECT_EQ(scales[0], -0.25f);
  EXPECT_EQ(q[0], 4 - 8);  // the low nibble of 0x76543214
  EXPECT_EQ(q[1], 1 - 8);
  EXPECT_EQ(q[7], 7 - 8);
  EXPECT_EQ(q[8], 5 - 8);
}

TEST(PackedLinear, ZeroPointsArePackedAlongTheChannels) {
  FakeCheckpoint checkpoint;
  checkpoint.Set("m.weight_zero_point", DataType::kI32, {1, 1}, checkpoint.zeros);
  const PackedLinear linear = GetPackedLinear(
      checkpoint, "m", {32, ActivationQuantization::kDynamicToken, 4, /*symmetric=*/false}, 2, 32);
  std::vector<int8_t> q(32);
  std::vector<int16_t> zeros(1);
  std::vector<float> scales(1);
  linear.ReadRow(0, q, zeros, scales);
  EXPECT_EQ(zeros[0], 0xd - 8);
  linear.ReadRow(1, q, zeros, scales);
  EXPECT_EQ(zeros[0], 0x2 - 8);
}

TEST(PackedLinear, Int8Weights) {
  FakeCheckpoint checkpoint;
  std::vector<int8_t> weights(64);
  std::iota(weights.begin(), weights.end(), int8_t{-128});
  checkpoint.Set("m.weight", DataType::kI8, {2, 32}, weights);
  LinearQuantization how = {LinearQuantization::kWholeRow, ActivationQuantization::kDynamicToken, 8,
                            true, WeightStorage::kInt8};
  const PackedLinear linear = GetPackedLinear(checkpoint, "m", how, 2, 32);
  EXPECT_EQ(linear.group_size, 32);
  std::vector<int8_t> q(32);
  std::vector<int16_t> zeros(1);
  std::vector<float> scales(1);
  linear.ReadRow(1, q, zeros, scales);
  EXPECT_EQ(q[0], -96);
  EXPECT_EQ(zeros[0], 0);
  EXPECT_EQ(scales[0], -0.25f);
  how.per_tensor = true;
  EXPECT_ERROR("expected one element", GetPackedLinear(checkpoint, "m", how, 2, 32));
  checkpoint.Set("m.weight_scale", DataType::kF32, {1}, std::span(checkpoint.scales).first(1));
  GetPackedLinear(checkpoint, "m", how, 2, 32).ReadRow(1, q, zeros, scales);
  EXPECT_EQ(scales[0], 0.5f);
  how.weight_bits = 4;
  const PackedLinear four_bits = GetPackedLinear(checkpoint, "m", how, 2, 32);
  EXPECT_ERROR("expected integers of 4 bits", four_bits.ReadRow(0, q, zeros, scales));
}

TEST(PackedLinear, ZeroPointsStoredInInt8) {
  FakeCheckpoint checkpoint;
  std::vector<int8_t> weights(64, 7), zero_points = {-8, 8};
  checkpoint.Set("m.weight", DataType::kI8, {2, 32}, weights);
  checkpoint.Set("m.weight_zero_point", DataType::kI8, {2, 1}, zero_points);
  LinearQuantization how = {LinearQuantization::kWholeRow, ActivationQuantization::kDynamicToken, 4,
                            false, WeightStorage::kInt8};
  std::vector<int8_t> q(32);
  std::vector<int16_t> zeros(1);
  std::vector<float> scales(1);
  const PackedLinear linear = GetPackedLinear(checkpoint, "m", how, 2, 32);
  linear.ReadRow(0, q, zeros, scales);
  EXPECT_EQ(zeros[0], -8);
  EXPECT_ERROR("m.weight_zero_point: expected integers of 4 bits, found 8",
               linear.ReadRow(1, q, zeros, scales));
  how.weight_bits = 8;
  GetPackedLinear(checkpoint, "m", how, 2, 32).ReadRow(1, q, zeros, scales);
  EXPECT_EQ(zeros[0], 8);
}

TEST(PackedLinear, GroupsInActivationOrder) {
  FakeCheckpoint checkpoint;
  std::vector<int32_t> words(16), group_of(64);
  std::iota(words.begin(), words.end(), 0x76543210);
  for (size_t i = 0; i < group_of.size(); ++i) group_of[i] = i % 2 == 0;
  std::vector<float> scales = {1, 2, 3, 4};
  std::vector<int64_t> shape = {2, 64};
  checkpoint.Set("m.weight_packed", DataType::kI32, {2, 8}, words);
  checkpoint.Set("m.weight_scale", DataType::kF32, {2, 2}, scales);
  checkpoint.Set("m.weight_shape", DataType::kI64, {2}, shape);
  checkpoint.Set("m.weight_g_idx", DataType::kI32, {64}, group_of);
  const PackedLinear linear = GetPackedLinear(checkpoint, "m", kStatic32, 2, 64);
  ASSERT_EQ(linear.input_order.size(), 64u);
  EXPECT_EQ(linear.input_order[0], 1);
  EXPECT_EQ(linear.input_order[31], 63);
  EXPECT_EQ(linear.input_order[32], 0);
  std::vector<int8_t> q(64);
  std::vector<int16_t> zeros(2);
  std::vector<float> scales_of_row(2);
  linear.ReadRow(0, q, zeros, scales_of_row);
  EXPECT_EQ(q[1], 3 - 8);   // input 3
  EXPECT_EQ(q[32], 0 - 8);  // input 0
  EXPECT_EQ(scales_of_row[1], 2);
  const auto error = [&] { GetPackedLinear(checkpoint, "m", kStatic32, 2, 64); };
  group_of[5] = 1;
  EXPECT_ERROR("expected 32 inputs in each group, found 31 in group 0", error());
  group_of[5] = 2;
  EXPECT_ERROR("expected groups from 0 to 1, found 2", error());
  for (size_t i = 0; i < group_of.size(); ++i) group_of[i] = i >= 32;
  EXPECT_TRUE(GetPackedLinear(checkpoint, "m", kStatic32, 2, 64).input_order.empty());
}

// The last word of a row is not full.
TEST(PackedLinear, InputsThatFillNoWholeWord) {
  FakeCheckpoint checkpoint;
  std::vector<int32_t> words = {0x76543210, 0x00000098, 0x76543210, 0x0000003f};
  std::vector<int64_t> shape = {2, 10};
  checkpoint.Set("m.weight_packed", DataType::kI32, {2, 2}, words);
  checkpoint.Set("m.weight_shape", DataType::kI64, {2}, shape);
  const PackedLinear linear =
      GetPackedLinear(checkpoint, "m", {LinearQuantization::kWholeRow}, 2, 10);
  std::vector<int8_t> q(10);
  std::vector<int16_t> zeros(1);
  std::vector<float> scales(1);
  linear.ReadRow(1, q, zeros, scales);
  EXPECT_EQ(q, (std::vector<int8_t>{-8, -7, -6, -5, -4, -3, -2, -1, 7, -5}));
}

// compressed-tensors' quantize(): round half to even of w / scale + zero point, clamped.
TEST(PackedLinear, FloatWeightsOfAFrozenFolder) {
  FakeCheckpoint checkpoint;
  std::vector<float> weights(64);
  weights[0] = 1.25f;
  weights[1] = 0.75f;
  weights[2] = -100;
  weights[3] = 100;
  std::vector<int8_t> zero_points = {1, 0};
  checkpoint.Set("m.weight", DataType::kF32, {2, 32}, weights);
  checkpoint.Set("m.weight_zero_point", DataType::kI8, {2, 1}, zero_points);
  checkpoint.scales[1] = 0;
  LinearQuantization how = {LinearQuantization::kWholeRow, ActivationQuantization::kDynamicToken, 4,
                            false};
  std::vector<int8_t> q(32);
  std::vector<int16_t> zeros(1);
  std::vector<float> scales(1);
  how.frozen = true;
  const PackedLinear linear = GetPackedLinear(checkpoint, "m", how, 2, 32);
  linear.ReadRow(0, q, zeros, scales);
  EXPECT_EQ(zeros[0], 1);
  EXPECT_EQ(std::vector<int8_t>(q.begin(), q.begin() + 5), (std::vector<int8_t>{4, 2, -8, 7, 1}));
  linear.ReadRow(1, q, zeros, scales);
  EXPECT_EQ(q[0], 0);
  how = {LinearQuantization::kWholeRow, ActivationQuantization::kNone, 8, true,
         WeightStorage::kInt8};
  EXPECT_ERROR("expected type I8, found F32", GetPackedLinear(checkpoint, "m", how, 2, 32));
  weights[40] = NAN;
  EXPECT_ERROR("m.weight: expected finite values", linear.ReadRow(1, q, zeros, scales));
}

// Of either sign, zero or denormal: the weights are q x scale, whatever that is.
TEST(PackedLinear, ScalesMayBeAnyFiniteNumber) {
  FakeCheckpoint checkpoint;
  std::vector<int8_t> q(32);
  std::vector<int16_t> zeros(1);
  std::vector<float> scales(1);
  for (const float scale : {0.0f, -0.0f, 1e-45f, -1e-40f, 3e38f}) {
    checkpoint.scales[0] = scale;
    GetPackedLinear(checkpoint, "m", kStatic32, 2, 32).ReadRow(0, q, zeros, scales);
    EXPECT_EQ(scales[0], scale);
  }
  std::vector<uint16_t> halves = {0x7c00, 0x3c00};  // infinite
  checkpoint.Set("m.weight_scale", DataType::kF16, {2, 1}, halves);
  EXPECT_ERROR("m.weight_scale: expected finite values",
               GetPackedLinear(checkpoint, "m", kStatic32, 2, 32).ReadRow(0, q, zeros, scales));
}

TEST(PackedLinear, ChecksItsTensors) {
  const auto expect_error = [](const char* part, auto&& change) {
    FakeCheckpoint checkpoint;
    change(checkpoint);
    EXPECT_ERROR(part, GetPackedLinear(checkpoint, "m", kStatic32, 2, 32));
  };
  expect_error("weight_packed", [](auto& c) { c.Erase("m.weight_packed"); });
  expect_error("quantization_config says that m is quantized to 4 bits, in groups of 32",
               [](auto& c) { c.Erase("m.weight_packed"); });
  expect_error("'m.weight_g_idx': expected shape [32]",
               [](auto& c) { c.Set("m.weight_g_idx", DataType::kI32, {2}, c.words); });
  expect_error("input_scale", [](auto& c) { c.Erase("m.input_scale"); });
  expect_error("expected type I32, found F32", [](auto& c) {
    c.Set("m.weight_packed", DataType::kF32, {2, 4}, c.words);
  });
  expect_error("weight_scale", [](auto& c) {
    c.Set("m.weight_scale", DataType::kF32, {1, 2}, c.scales);
  });
  expect_error("expected the values [2, 32], found [2, 31]", [](auto& c) { c.shape[1] = 31; });
  expect_error("expected a positive scale, found 0", [](auto& c) { c.input_scale[0] = 0; });
  expect_error("expected a positive scale, found nan", [](auto& c) { c.input_scale[0] = NAN; });
  EXPECT_ERROR("group size",
               GetPackedLinear(FakeCheckpoint(), "m", {64, kStatic32.activations}, 2, 32));

  FakeCheckpoint infinite;
  infinite.scales[1] = INFINITY;
  const PackedLinear linear = GetPackedLinear(infinite, "m", kStatic32, 2, 32);
  std::vector<int8_t> q(32);
  std::vector<int16_t> zeros(1);
  std::vector<float> scales(1);
  linear.ReadRow(0, q, zeros, scales);
  EXPECT_ERROR("m.weight_scale", linear.ReadRow(1, q, zeros, scales));
}

}  // namespace
}  // namespace fptq
