#include "io/sharded_writer.h"

#include <gtest/gtest.h>

#include "base/test_util.h"
#include "io/checkpoint.h"

namespace fptq {
namespace {

TEST(ShardedWriter, WritesWhatACheckpointReads) {
  const std::vector<float> a = {1, 2, 3, 4}, b = {5, 6}, c = {7, 8, 9, 10, 11, 12};
  for (const int64_t max_bytes : {1000, 24, 1}) {  // one file; a and b together; one each
    const TempFolder folder;
    folder.Write("config.json", "{}");
    ShardedWriter writer(
        folder.path(),
        {{"a", DataType::kF32, {2, 2}}, {"b", DataType::kF32, {2}}, {"c", DataType::kF32, {6}}},
        max_bytes);
    EXPECT_EQ(writer.TensorBytes(), 48);
    writer.Write("a", std::as_bytes(std::span(a)));
    writer.Write("b", std::as_bytes(std::span(b)));
    writer.Write("c", std::as_bytes(std::span(c).first(2)));
    writer.Write("c", std::as_bytes(std::span(c).subspan(2)));
    writer.Close();
    int64_t files = 0;
    for (const auto& entry : std::filesystem::directory_iterator(folder.path())) {
      files += entry.path().extension() == ".safetensors";
      const std::string name = entry.path().filename().string();
      EXPECT_EQ(ShardedWriter::IsFile(name), name != "config.json") << name;
    }
    EXPECT_EQ(files, max_bytes == 1000 ? 1 : max_bytes == 24 ? 2 : 3);
    const auto checkpoint = Checkpoint::Open(folder.path());
    std::vector<float> values(6);
    DequantizeRange(checkpoint->Get("c"), 0, values);
    EXPECT_EQ(values, c);
    values.resize(2);
    DequantizeRange(checkpoint->Get("b"), 0, values);
    EXPECT_EQ(values, b);
  }
  for (const char* name : {"", "model.gguf", "model-1.safetensors", "model-00001-of-2.safetensors",
                           "model-0000a-of-00002.safetensors", "a-00001-of-00002.safetensors"}) {
    EXPECT_FALSE(ShardedWriter::IsFile(name)) << name;
  }
}

}  // namespace
}  // namespace fptq
