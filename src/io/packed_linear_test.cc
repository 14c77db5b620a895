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
  std::vector<int8_t> q(32), zeros(1);
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
  EXPECT_EQ(linear.integer_bits(), 8);
  std::vector<int8_t> q(32), zeros(1);
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
  std::vector<int8_t> q(32), zeros(1);
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

TEST(PackedLinear, ChecksItsTensors) {
  const auto expect_error = [](const char* part, auto&& change) {
    FakeCheckpoint checkpoint;
    change(checkpoint);
    EXPECT_ERROR(part, GetPackedLinear(checkpoint, "m", kStatic32, 2, 32));
  };
  expect_error("weight_packed", [](auto& c) { c.Erase("m.weight_packed"); });
  expect_error("groups in activation order",
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
  std::vector<int8_t> q(32), zeros(1);
  std::vector<float> scales(1);
  linear.ReadRow(0, q, zeros, scales);
  EXPECT_ERROR("m.weight_scale", linear.ReadRow(1, q, zeros, scales));
}

}  // namespace
}  // namespace fptq
