#include "quant/tensor_spool.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "base/test_util.h"

namespace fptq {
namespace {

TEST(TensorSpool, GivesBackWhatWasAddedAndRemovesItsFile) {
  const TempFolder folder;
  const auto path = folder / "spool.tmp";
  const std::vector<float> a = {1, -2, 3.5f};
  const std::vector<int64_t> b = {7, 9};
  {
    TensorSpool spool(path);
    spool.Add({"a", DataType::kF32, {3}}, std::as_bytes(std::span(a)));
    spool.Add({"b", DataType::kI64, {1, 2}}, std::as_bytes(std::span(b)));
    ASSERT_EQ(spool.tensors().size(), 2u);
    EXPECT_EQ(spool.tensors()[1].name, "b");
    std::vector<std::pair<std::string, std::vector<std::byte>>> found;
    spool.ForEach([&](const SafetensorsWriter::Tensor& tensor, std::span<const std::byte> bytes) {
      found.emplace_back(tensor.name, std::vector<std::byte>(bytes.begin(), bytes.end()));
    });
    const auto bytes = [](const auto& values) {
      const auto span = std::as_bytes(std::span(values));
      return std::vector<std::byte>(span.begin(), span.end());
    };
    ASSERT_EQ(found.size(), 2u);
    EXPECT_EQ(found[0], std::make_pair(std::string("a"), bytes(a)));
    EXPECT_EQ(found[1], std::make_pair(std::string("b"), bytes(b)));
  }
  EXPECT_FALSE(std::filesystem::exists(path));
}

}  // namespace
}  // namespace fptq
