#include "io/tensor_spool.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "base/test_util.h"

namespace fptq {
namespace {

const std::vector<float> kA = {1, -2, 3.5f};
const std::vector<int64_t> kB = {7, 9};

template <typename T>
std::vector<std::byte> Bytes(const std::vector<T>& values) {
  const auto span = std::as_bytes(std::span(values));
  return {span.begin(), span.end()};
}

void AddBoth(TensorSpool& spool) {
  spool.Add({"a", DataType::kF32, {3}}, Bytes(kA));
  spool.Add({"b", DataType::kI64, {1, 2}}, Bytes(kB));
  spool.Sync();
}

std::vector<std::pair<std::string, std::vector<std::byte>>> ContentOf(const TensorSpool& spool) {
  std::vector<std::pair<std::string, std::vector<std::byte>>> found;
  spool.ForEach([&](const SafetensorsWriter::Tensor& tensor, std::span<const std::byte> bytes) {
    found.emplace_back(tensor.name, std::vector<std::byte>(bytes.begin(), bytes.end()));
  });
  return found;
}

TEST(TensorSpool, GivesBackWhatWasAdded) {
  const TempFolder folder;
  TensorSpool spool(folder / "spool");
  AddBoth(spool);
  ASSERT_EQ(spool.entries().size(), 2u);
  EXPECT_EQ(spool.entries()[1].tensor.name, "b");
  const auto found = ContentOf(spool);
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[0], std::make_pair(std::string("a"), Bytes(kA)));
  EXPECT_EQ(found[1], std::make_pair(std::string("b"), Bytes(kB)));
}

TEST(TensorSpool, IsRestoredUpToWhatIsDamaged) {
  const TempFolder folder;
  std::vector<TensorSpool::Entry> entries;
  {
    TensorSpool spool(folder / "spool");
    AddBoth(spool);
    entries = spool.entries();
    spool.Add({"torn", DataType::kF32, {3}}, Bytes(kA));
  }
  {
    TensorSpool spool(folder / "spool");
    EXPECT_EQ(spool.Restore(entries), 2u);
    EXPECT_EQ(ContentOf(spool).size(), 2u);
  }
  std::string text = ReadFile(folder / "spool");
  ASSERT_EQ(text.size(), 28u);
  text[20] ^= 1;
  std::filesystem::remove(folder / "spool");
  folder.Write("spool", text);
  TensorSpool spool(folder / "spool");
  EXPECT_EQ(spool.Restore(entries), 1u);
  spool.Add({"b", DataType::kI64, {1, 2}}, Bytes(kB));
  EXPECT_EQ(ContentOf(spool)[1], std::make_pair(std::string("b"), Bytes(kB)));
  EXPECT_EQ(std::filesystem::file_size(folder / "spool"), 28u);
}

}  // namespace
}  // namespace fptq
