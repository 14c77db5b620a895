#include "base/tensor.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <limits>

#include "base/test_util.h"

namespace fptq {
namespace {

TEST(TensorTest, CheckedMultiply) {
  constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
  EXPECT_EQ(CheckedMultiply(kMax, 1, "w"), kMax);
  EXPECT_EQ(CheckedMultiply(int64_t{1} << 31, int64_t{1} << 31, "w"), int64_t{1} << 62);
  EXPECT_ERROR("w: the size", CheckedMultiply(kMax / 2 + 1, 2, "w"));
  EXPECT_ERROR("w: the size", CheckedMultiply(-1, 0, "w"));
}

TEST(TensorTest, ShapesAndElementCounts) {
  TensorView view;
  EXPECT_EQ(view.ElementCount(), 1);
  view.shape = {576, 1536};
  EXPECT_EQ(view.ElementCount(), 576 * 1536);
  EXPECT_EQ(ShapeString(view.shape), "[576, 1536]");
  EXPECT_EQ(ShapeString({}), "[]");
}

TEST(TensorTest, AlignedBufferIsAlignedAndZero) {
  for (const int64_t size : {1, 63, 1000, 5 << 20}) {
    AlignedBuffer<float> buffer(size);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer.data()) % 64, 0u);
    std::ranges::fill(buffer.span(), 1.0f);
    buffer.Resize(size);
    EXPECT_TRUE(std::ranges::all_of(buffer.span(), [](float x) { return x == 0; }));
  }
  EXPECT_EQ(reinterpret_cast<uintptr_t>(AlignedBuffer<char>(4 << 20).data()) % (2 << 20), 0u);
  EXPECT_EQ(AlignedBuffer<float>(0).size(), 0);
  EXPECT_ERROR("buffer: the size", AlignedBuffer<float>(-1));
  constexpr int64_t kLargest = std::numeric_limits<int64_t>::max();
  EXPECT_ERROR("buffer: the size", AlignedBuffer<float>{kLargest});
}

}  // namespace
}  // namespace fptq
