#include "io/checkpoint.h"

#include <gtest/gtest.h>

#include <vector>

#include "base/test_paths.h"
#include "base/test_util.h"
#include "io/gguf_test_util.h"
#include "io/safetensors.h"

namespace fptq {
namespace {

using namespace gguf_types;

void WriteShard(const std::filesystem::path& path, const std::vector<std::string>& names) {
  std::vector<SafetensorsWriter::Tensor> tensors;
  for (const std::string& name : names) tensors.push_back({name, DataType::kF32, {1, 2}});
  SafetensorsWriter writer(path, tensors);
  const std::vector<float> values = {1.5f, -2.0f};
  for (const std::string& name : names) writer.Write(name, std::as_bytes(std::span(values)));
  writer.Close();
}

TEST(CheckpointTest, OneFile) {
  const TempFolder folder;
  folder.Write("config.json", R"({"hidden_size":2})");
  WriteShard(folder / "model.safetensors", {"a", "b"});
  const auto checkpoint = Checkpoint::Open(folder.path());
  EXPECT_EQ(checkpoint->format(), Checkpoint::Format::kHuggingFace);
  EXPECT_EQ(checkpoint->path(), folder.path());
  EXPECT_EQ(checkpoint->metadata()["hidden_size"], 2);
  EXPECT_EQ(checkpoint->TensorBytes(), 16);
  EXPECT_TRUE(checkpoint->Contains("a"));
  std::vector<float> values(1);
  DequantizeRange(checkpoint->Get("b"), 1, values);
  EXPECT_EQ(values[0], -2.0f);
  EXPECT_ERROR("tensor 'c' is missing", checkpoint->Get("c"));
  EXPECT_NO_THROW(checkpoint->Get("a", std::vector<int64_t>{1, 2}));
  EXPECT_ERROR("tensor 'a': expected shape [2], found [1, 2]",
               checkpoint->Get("a", std::vector<int64_t>{2}));
}

class ShardsTest : public testing::Test {
 protected:
  ShardsTest() {
    folder_.Write("config.json", "{}");
    WriteShard(folder_ / "1.safetensors", {"a", "b"});
    WriteShard(folder_ / "2.safetensors", {"c"});
  }
  std::string ErrorForIndex(std::string_view index) const {
    folder_.Write("model.safetensors.index.json", index);
    return ErrorOf([&] { Checkpoint::Open(folder_.path()); });
  }
  std::string ErrorForShard(std::string_view shard) const {
    return ErrorForIndex(fmt::format(R"({{"weight_map":{{"a":{}}}}})", shard));
  }
  TempFolder folder_;
};

TEST_F(ShardsTest, Opens) {
  folder_.Write("model.safetensors.index.json",
                R"({"weight_map":{"a":"1.safetensors","c":"2.safetensors","b":"1.safetensors"}})");
  const auto checkpoint = Checkpoint::Open(folder_.path());
  EXPECT_EQ(checkpoint->tensors().size(), 3u);
  EXPECT_EQ(checkpoint->TensorBytes(), 24);
}

TEST_F(ShardsTest, Refuses) {
  const auto expect = [](const std::string& message, std::string_view part) {
    EXPECT_NE(message.find(part), std::string::npos) << '"' << message << '"';
  };
  for (const char* shard : {R"("../../etc/passwd")", R"("/etc/passwd")", R"("..")", R"("")", "5",
                            R"("x\u0000")", R"("sub\\x")"}) {
    expect(ErrorForShard(shard), "tensor 'a': expected the name of a file in the same folder");
  }
  expect(ErrorForShard(R"("3.safetensors")"),
         "tensor 'a' is said to be in 3.safetensors, which is missing");
  expect(ErrorForShard(R"("2.safetensors")"), "tensor 'a' is not in 2.safetensors");
  expect(ErrorForShard(R"("config.json")"), "config.json: expected a header length");
  expect(ErrorForIndex("{"), "model.safetensors.index.json: not JSON");
  expect(ErrorForIndex("{}"), "'weight_map' is missing");
  expect(ErrorForIndex(R"({"weight_map":[]})"), "'weight_map': expected an object");
}

TEST_F(ShardsTest, ATensorInTwoShardsIsTakenFromTheOneThatTheIndexNames) {
  const std::vector<float> values = {3.0f, 4.0f};
  SafetensorsWriter writer(folder_ / "3.safetensors", {{"a", DataType::kF32, {1, 2}}});
  writer.Write("a", std::as_bytes(std::span(values)));
  writer.Close();
  folder_.Write("model.safetensors.index.json", R"({"weight_map":{"a":"3.safetensors"}})");
  const auto checkpoint = Checkpoint::Open(folder_.path());
  EXPECT_EQ(checkpoint->tensors().size(), 1u);
  std::vector<float> found(2);
  DequantizeRange(checkpoint->Get("a"), 0, found);
  EXPECT_EQ(found, values);
}

void WriteTensor(const std::filesystem::path& path, const std::string& name,
                 const std::vector<float>& values) {
  SafetensorsWriter writer(path, {{name, DataType::kF32, {std::ssize(values)}}});
  writer.Write(name, std::as_bytes(std::span(values)));
  writer.Close();
}

// As transformers does: all that is in the files.
TEST_F(ShardsTest, ATensorThatTheIndexDoesNotNameIsThereAllTheSame) {
  folder_.Write("model.safetensors.index.json", R"({"weight_map":{"a":"1.safetensors"}})");
  EXPECT_TRUE(Checkpoint::Open(folder_.path())->Contains("b"));
}

TEST_F(ShardsTest, ATensorInTwoShardsMustBeTheSame) {
  folder_.Write("model.safetensors.index.json",
                R"({"weight_map":{"a":"1.safetensors","x":"4.safetensors"}})");
  WriteShard(folder_ / "4.safetensors", {"x", "a"});
  EXPECT_EQ(Checkpoint::Open(folder_.path())->tensors().size(), 3u);
  folder_.Write("model.safetensors.index.json",
                R"({"weight_map":{"b":"1.safetensors","a":"5.safetensors"}})");
  WriteTensor(folder_ / "5.safetensors", "a", {3, 4});
  EXPECT_ERROR("5.safetensors: tensor 'a' is in another file, too, with other content",
               Checkpoint::Open(folder_.path()));
}

// As transformers does: the single file. Others go by the index, so it must not be silent.
TEST_F(ShardsTest, OneFileGoesBeforeTheIndex) {
  folder_.Write("model.safetensors.index.json", R"({"weight_map":{"a":"none.safetensors"}})");
  WriteShard(folder_ / "model.safetensors", {"z"});
  const auto checkpoint = Checkpoint::Open(folder_.path());
  EXPECT_TRUE(checkpoint->Contains("z"));
  EXPECT_FALSE(checkpoint->Contains("a"));
  ASSERT_EQ(checkpoint->warnings().size(), 1u);
  EXPECT_NE(checkpoint->warnings()[0].find("model.safetensors and model.safetensors.index.json"),
            std::string::npos);
  std::filesystem::remove(folder_ / "model.safetensors.index.json");
  EXPECT_TRUE(Checkpoint::Open(folder_.path())->warnings().empty());
  std::filesystem::remove(folder_ / "model.safetensors");
  EXPECT_ERROR("there is neither model.safetensors nor", Checkpoint::Open(folder_.path()));
}

TEST_F(ShardsTest, ConfigJsonMayNameTheFile) {
  const auto name = [&](std::string_view file) {
    folder_.Write("config.json", fmt::format(R"({{"transformers_weights":"{}"}})", file));
  };
  name("2.safetensors");
  EXPECT_TRUE(Checkpoint::Open(folder_.path())->Contains("c"));
  folder_.Write("other.json", R"({"weight_map":{"a":"1.safetensors"}})");
  name("other.json");
  EXPECT_TRUE(Checkpoint::Open(folder_.path())->Contains("a"));
  name("../2.safetensors");
  EXPECT_ERROR("config.json: transformers_weights: expected the name of a file",
               Checkpoint::Open(folder_.path()));
}

TEST(CheckpointTest, AMissingTensorNamesWhatItsModuleHas) {
  const TempFolder folder;
  folder.Write("config.json", "{}");
  WriteShard(folder / "model.safetensors", {"l.q.qweight", "l.q.scales", "l.qk.weight"});
  EXPECT_ERROR("tensor 'l.q.weight' is missing; of its module there are l.q.qweight, l.q.scales",
               Checkpoint::Open(folder.path())->Get("l.q.weight"));
}

// A part with one tensor of F32 [1].
std::string GgufPart(uint16_t part, uint16_t count, std::string_view tensor,
                     std::vector<std::string> more = {}) {
  more.push_back(Pair("split.no", kU16, Bytes(part)));
  more.push_back(Pair("split.count", kU16, Bytes(count)));
  more.push_back(Pair("split.tensors.count", kI32, Bytes<int32_t>(3)));
  return File({.tensors = {Tensor(tensor, {1}, /*type=*/0, 0)}, .pairs = more, .data_bytes = 4});
}

class SplitGgufTest : public testing::Test {
 protected:
  SplitGgufTest() {
    first_ = folder_.Write("m-00001-of-00003.gguf",
                           GgufPart(0, 3, "a", {Pair("general.architecture", kString, Str("x"))}));
    folder_.Write("m-00002-of-00003.gguf", GgufPart(1, 3, "b"));
    folder_.Write("m-00003-of-00003.gguf", GgufPart(2, 3, "c"));
  }
  TempFolder folder_;
  std::filesystem::path first_;
};

TEST_F(SplitGgufTest, TheFirstPartOpensAll) {
  const auto checkpoint = Checkpoint::Open(first_);
  EXPECT_EQ(checkpoint->tensors().size(), 3u);
  EXPECT_EQ(checkpoint->metadata()["general.architecture"], "x");
  std::vector<float> value(1);
  DequantizeRange(checkpoint->Get("c"), 0, value);
  checkpoint->ReleasePages();
}

TEST_F(SplitGgufTest, Refuses) {
  EXPECT_ERROR("is part 2 of 3 of a split model; open the first one: " + first_.string(),
               Checkpoint::Open(folder_ / "m-00002-of-00003.gguf"));
  const auto expect = [&](const char* name, const std::string& content, std::string_view part) {
    const std::string before = ReadFile(folder_ / name);
    folder_.Write(name, content);
    EXPECT_ERROR(part, Checkpoint::Open(first_));
    folder_.Write(name, before);
  };
  expect("m-00002-of-00003.gguf", GgufPart(1, 3, "c"), "tensor 'c' is in another part, too");
  expect("m-00002-of-00003.gguf", GgufPart(2, 3, "b"), "expected part 2 of 3 of the model, found");
  expect("m-00002-of-00003.gguf", "GGUF", "m-00002-of-00003.gguf: version");
  expect("m-00002-of-00003.gguf", File({}), "found part 1 of 1");
  std::filesystem::remove(folder_ / "m-00003-of-00003.gguf");
  EXPECT_ERROR("part 3 of 3 of the model is missing: ", Checkpoint::Open(first_));
  EXPECT_ERROR("expected a name that ends in -00001-of-00003.gguf",
               Checkpoint::Open(folder_.Write("other.gguf", ReadFile(first_))));
  EXPECT_ERROR("expected 3 tensors in all parts, found 2", {
    folder_.Write("n-00001-of-00002.gguf", GgufPart(0, 2, "a"));
    folder_.Write("n-00002-of-00002.gguf", GgufPart(1, 2, "b"));
    Checkpoint::Open(folder_ / "n-00001-of-00002.gguf");
  });
  EXPECT_ERROR("split.no", Checkpoint::Open(folder_.Write("p.gguf", GgufPart(5, 2, "a"))));
}

TEST(CheckpointTest, RefusesWhatIsNoModel) {
  const TempFolder folder;
  EXPECT_ERROR("none: cannot open: No such file", Checkpoint::Open(folder / "none"));
  EXPECT_ERROR("there is no config.json", Checkpoint::Open(folder.path()));
  const auto text = folder.Write("x.txt", "hello world");
  EXPECT_ERROR("x.txt: expected a GGUF file or a folder with config.json", Checkpoint::Open(text));
  EXPECT_ERROR("empty: the file is empty", Checkpoint::Open(folder.Write("empty", "")));
  const auto gguf = folder.Write("m.gguf", "GGUF");
  EXPECT_ERROR("m.gguf: version: expected 4 bytes", Checkpoint::Open(gguf));
  EXPECT_ERROR("name the file itself: " + gguf.string(), Checkpoint::Open(folder.path()));
  folder.Write("config.json", "[]");
  EXPECT_ERROR("config.json: expected an object, found array", Checkpoint::Open(folder.path()));
  folder.Write("config.json", "");
  EXPECT_ERROR("config.json: the file is empty", Checkpoint::Open(folder.path()));
  folder.Write("config.json", "{}");
  EXPECT_ERROR("there is neither model.safetensors nor", Checkpoint::Open(folder.path()));
  folder.Write("pytorch_model.bin", "x");
  EXPECT_ERROR("only safetensors and GGUF are read", Checkpoint::Open(folder.path()));
}

TEST(CheckpointTest, Gguf) {
  const auto checkpoint = Checkpoint::Open(std::filesystem::path(kTestdata) / "gguf/types.gguf");
  EXPECT_EQ(checkpoint->format(), Checkpoint::Format::kGguf);
  EXPECT_EQ(checkpoint->metadata()["general.architecture"], "llama");
  EXPECT_EQ(checkpoint->tensors().size(), 18u);
}

}  // namespace
}  // namespace fptq
