#include "io/dequantize.h"

#include <gtest/gtest.h>

#include <bit>
#include <cstring>
#include <limits>
#include <vector>

#include "base/test_paths.h"
#include "base/test_util.h"
#include "io/checkpoint.h"

namespace fptq {
namespace {

constexpr const char* kTypesInFileOrder[] = {"F32",  "F16",    "BF16",   "Q4_0",  "Q4_1",  "Q5_0",
                                             "Q5_1", "Q8_0",   "Q4_K",   "Q5_K",  "Q6_K",  "Q2_K",
                                             "Q3_K", "IQ4_NL", "IQ4_XS", "TQ1_0", "TQ2_0", "MXFP4"};

// Exact: the order of the float operations is the same, and none is approximate.
TEST(DequantizeTest, EveryTypeEqualsTheGgufPackage) {
  const auto checkpoint = Checkpoint::Open(std::filesystem::path(kTestdata) / "gguf/types.gguf");
  const std::string golden = ReadFile(std::filesystem::path(kTestdata) / "gguf/types.f32");
  size_t offset = 0;
  for (const std::string name : kTypesInFileOrder) {
    const TensorView& tensor = checkpoint->Get(name, std::vector<int64_t>{2, 512});
    EXPECT_EQ(DataTypeName(tensor.type), name);
    std::vector<float> values(1024);
    DequantizeRange(tensor, 0, values);
    ASSERT_LE(offset + 4096, golden.size());
    std::vector<float> expected(1024);
    std::memcpy(expected.data(), golden.data() + offset, 4096);
    for (size_t i = 0; i < values.size(); ++i) {
      ASSERT_EQ(std::bit_cast<uint32_t>(values[i]), std::bit_cast<uint32_t>(expected[i]))
          << name << " at " << i << ": " << values[i] << ", expected " << expected[i];
    }
    std::vector<float> part(256);
    DequantizeRange(tensor, 512, part);
    EXPECT_EQ(std::memcmp(part.data(), values.data() + 512, 1024), 0) << name;
    offset += 4096;
  }
  EXPECT_EQ(offset, golden.size());
}

TEST(DequantizeTest, RefusesIntegers) {
  const std::vector<std::byte> bytes(8);
  std::vector<float> out(1);
  EXPECT_ERROR("expected a tensor of floats, found I64", Dequantize(DataType::kI64, bytes, out));
}

TEST(CheckFiniteTest, NamesTheFirstThatIsNot) {
  std::vector<float> values(10, 1.0f);
  EXPECT_NO_THROW(CheckFinite(values, "w"));
  values[7] = -std::numeric_limits<float>::infinity();
  EXPECT_ERROR("w: expected finite values, found -inf at index 7", CheckFinite(values, "w"));
  values[3] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_ERROR("w: expected finite values, found nan at index 3", CheckFinite(values, "w"));
  values[1] = 70000;
  EXPECT_ERROR("w: expected values up to 65504, found 70000 at index 1",
               CheckFinite(values, "w", /*largest=*/65504));
}

TEST(CheckFiniteTest, FindsItAnywhereInATensor) {
  std::vector<uint16_t> stored(10'000, 0x3c00);  // ones in F16
  const TensorView tensor{.type = DataType::kF16,
                          .shape = {std::ssize(stored)},
                          .bytes = std::as_bytes(std::span(stored))};
  EXPECT_NO_THROW(CheckFinite(tensor, 0, 10'000, "w"));
  stored[9'999] = 0x7c00;
  EXPECT_NO_THROW(CheckFinite(tensor, 0, 9'999, "w"));
  EXPECT_ERROR("w: expected finite values, found inf at index 9999",
               CheckFinite(tensor, 4'000, 6'000, "w"));
}

}  // namespace
}  // namespace fptq
