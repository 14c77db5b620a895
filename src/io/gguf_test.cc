#include "io/gguf.h"

#include <gtest/gtest.h>

#include <vector>

#include "base/test_paths.h"
#include "base/test_util.h"
#include "io/gguf_test_util.h"
#include "io/hostile_test_util.h"

namespace fptq {
namespace {

using namespace gguf_types;

std::string ErrorFor(const std::string& file) {
  const std::vector<std::byte> bytes = HeapCopy(file);
  return ErrorOf([&] { ParseGguf(bytes, "f"); });
}
std::string ErrorForPair(const std::string& pair) { return ErrorFor(File({.pairs = {pair}})); }
// One tensor, 256 bytes of data.
std::string ErrorForTensor(const std::string& tensor) {
  return ErrorFor(File({.tensors = {tensor}, .data_bytes = 256}));
}
void ExpectContains(const std::string& message, std::string_view part) {
  EXPECT_NE(message.find(part), std::string::npos) << '"' << message << '"';
}

std::string SmallFile() {
  return File({.tensors = {Tensor("a", {3, 2}, 0, 0), Tensor("b", {32, 2}, 2, 32)},
               .pairs = {Pair("general.architecture", kString, Str("llama")),
                         Pair("n", kU64, U64(5)), Pair("ok", kBool, std::string(1, '\1')),
                         Pair("list", kArray, Array(kString, 2, Str("x") + Str(""))),
                         Pair("nested", kArray, Array(kArray, 1, Array(kU32, 2, U32(1) + U32(2))))},
               .data_bytes = 32 + 36});
}

TEST(GgufTest, ReadsMetadataAndTensors) {
  for (const char version : {'\2', '\3'}) {
    std::string text = SmallFile();
    text[4] = version;
    const std::vector<std::byte> file = HeapCopy(text);
    const GgufContents contents = ParseGguf(file, "f");
    EXPECT_EQ(
        contents.metadata.dump(),
        R"({"general.architecture":"llama","n":5,"ok":true,"list":["x",""],"nested":[[1,2]]})");
    ASSERT_EQ(contents.tensors.size(), 2u);
    const TensorView& a = contents.tensors.at("a");
    EXPECT_EQ(a.type, DataType::kF32);
    EXPECT_EQ(a.shape, (std::vector<int64_t>{2, 3}));
    EXPECT_EQ(a.bytes.data(), file.data() + file.size() - 68);
    const TensorView& b = contents.tensors.at("b");
    EXPECT_EQ(b.type, DataType::kQ4_0);
    EXPECT_EQ(b.bytes.data(), file.data() + file.size() - 36);
    EXPECT_EQ(b.bytes.size(), 36u);
  }
}

TEST(GgufTest, ReadsWhatThePackageWrites) {
  const std::vector<std::byte> file =
      HeapCopy(ReadFile(std::filesystem::path(kTestdata) / "gguf/types.gguf"));
  const Json metadata = ParseGguf(file, "f").metadata;
  EXPECT_EQ(metadata["general.architecture"], "llama");
  EXPECT_EQ(metadata["test.u32"], 7);
  EXPECT_EQ(metadata["test.i32"], -7);
  EXPECT_EQ(metadata["test.u64"], UINT64_MAX);
  EXPECT_EQ(metadata["test.f32"], 0.5);
  EXPECT_EQ(metadata["test.bool"], true);
  EXPECT_EQ(metadata["test.string"], "h\u00e9llo");
  EXPECT_EQ(metadata["test.strings"], Json({"a", "b", ""}));
  EXPECT_EQ(metadata["test.ints"], Json({1, -2, 3}));
}

TEST(GgufTest, IllFormedStringsAreReplaced) {
  const std::vector<std::byte> file =
      HeapCopy(File({.pairs = {Pair("k\xff", kString, Str("a\xc3z"))}}));
  EXPECT_EQ(ParseGguf(file, "f").metadata.dump(), "{\"k\xef\xbf\xbd\":\"a\xef\xbf\xbdz\"}");
}

TEST(GgufTest, Header) {
  ExpectContains(ErrorFor("GGU"), "f: magic: expected 4 bytes at offset 0, found 3");
  ExpectContains(ErrorFor("GGML" + std::string(20, '\0')), "expected the magic bytes GGUF");
  ExpectContains(ErrorFor(File({.version = 1})), "expected GGUF version 2 or 3, found 1");
  ExpectContains(ErrorFor(File({.version = 4})), "found 4");
  const std::string huge = U64(UINT64_MAX / 2);
  ExpectContains(ErrorFor("GGUF" + U32(3) + huge + U64(0)), "name of tensor 0: expected 8 bytes");
  ExpectContains(ErrorFor("GGUF" + U32(3) + U64(0) + huge), "metadata key 0: expected 8 bytes");
  EXPECT_EQ(ErrorFor(File({})), "");
}

TEST(GgufTest, Metadata) {
  ExpectContains(ErrorForPair(U64(UINT64_MAX) + "abc"), "expected 18446744073709551615 bytes");
  ExpectContains(ErrorForPair(Pair("k", 13, U64(0))), "f: 'k': value type 13 is not known");
  ExpectContains(ErrorForPair(Pair("k", kString, U64(1 << 30))), "'k': expected 1073741824 bytes");
  ExpectContains(ErrorForPair(Pair("k", kBool, "\2")), "expected a bool of 0 or 1, found 2");
  const std::string pair = Pair("k", kU32, U32(1));
  ExpectContains(ErrorFor(File({.pairs = {pair, pair}})), "'k' stands there twice");
}

TEST(GgufTest, Arrays) {
  ExpectContains(ErrorForPair(Pair("k", kArray, Array(kF32, uint64_t{1} << 62, ""))),
                 "an array of 4611686018427387904 elements goes past the end");
  ExpectContains(ErrorForPair(Pair("k", kArray, Array(99, 1, U64(0)))), "value type 99");
  std::string nested = Array(kU32, 0, "");
  for (int depth = 1; depth < 4; ++depth) nested = Array(kArray, 1, nested);
  EXPECT_EQ(ErrorForPair(Pair("k", kArray, nested)), "");
  ExpectContains(ErrorForPair(Pair("k", kArray, Array(kArray, 1, nested))), "nested deeper than 4");
  constexpr uint64_t kTooMany = (uint64_t{1} << 24) + 1;
  ExpectContains(ErrorForPair(Pair("k", kArray, Array(kBool, kTooMany, std::string(kTooMany, 0)))),
                 "more than 16777216 array elements");
}

TEST(GgufTest, Alignment) {
  for (const uint32_t bad : {0u, 4u, 33u, 1u << 31}) {
    ExpectContains(ErrorForPair(Pair("general.alignment", kU32, U32(bad))),
                   "'general.alignment': expected a multiple of 8 up to");
  }
  ExpectContains(ErrorForPair(Pair("general.alignment", kString, Str("32"))), "found string");
  const std::string pair = Pair("general.alignment", kU32, U32(8));
  const std::vector<std::byte> file =
      HeapCopy(File({.tensors = {Tensor("a", {2}, 0, 8)}, .pairs = {pair}, .data_bytes = 16}, 8));
  EXPECT_EQ(ParseGguf(file, "f").tensors.at("a").bytes.data(), file.data() + file.size() - 8);
}

TEST(GgufTest, Tensors) {
  EXPECT_EQ(ErrorForTensor(Tensor("a", {64}, 0, 0)), "");
  ExpectContains(ErrorForTensor(Tensor("a", {}, 0, 0)), "'a': expected 1 to 4 dimensions, found 0");
  ExpectContains(ErrorForTensor(Tensor("a", {1, 1, 1, 1, 1}, 0, 0)), "found 5");
  ExpectContains(ErrorForTensor(Tensor("a", {0}, 0, 0)), "dimension 0 is not positive");
  ExpectContains(ErrorForTensor(Tensor("a", {UINT64_MAX}, 0, 0)), "dimension -1 is not positive");
  ExpectContains(ErrorForTensor(Tensor("a", {1}, 16, 0)), "tensor type 16 is not supported");
  ExpectContains(ErrorForTensor(Tensor("a", {48}, 2, 0)), "a multiple of 32 elements for Q4_0");
  ExpectContains(ErrorForTensor(Tensor("a", {uint64_t{1} << 62, 4}, 0, 0)), "is not valid");
  ExpectContains(ErrorForTensor(Tensor("a", {65}, 0, 0)),
                 "f: tensor 'a': expected 260 bytes at offset 0 of the data, found 256 in all");
  ExpectContains(ErrorForTensor(Tensor("a", {64}, 0, 32)), "at offset 32 of the data");
  ExpectContains(ErrorForTensor(Tensor("a", {1}, 0, uint64_t{1} << 63)), "found 256 in all");
  ExpectContains(ErrorForTensor(Tensor("a", {1}, 0, 4)), "not a multiple of the alignment 32");
  const auto two = [](const std::string& a, const std::string& b) {
    return ErrorFor(File({.tensors = {a, b}, .data_bytes = 256}));
  };
  EXPECT_EQ(two(Tensor("a", {8}, 0, 64), Tensor("b", {16}, 0, 0)), "");
  ExpectContains(two(Tensor("a", {8}, 0, 32), Tensor("b", {16}, 0, 0)), "overlaps another");
  ExpectContains(two(Tensor("a", {8}, 0, 0), Tensor("a", {8}, 0, 32)), "'a' stands there twice");
}

TEST(GgufTest, TruncatedAnywhereIsAnError) {
  const std::string file = SmallFile();
  EXPECT_EQ(ErrorFor(file), "");
  for (size_t size = 0; size < file.size(); ++size) {
    EXPECT_NE(ErrorFor(file.substr(0, size)), "") << size;
  }
}

TEST(GgufTest, DamagedFilesAreRefusedOrSound) {
  const int refused = Fuzz(SmallFile(), 5000, [](std::span<const std::byte> bytes) {
    const GgufContents contents = ParseGguf(bytes, "f");
    return !contents.metadata.dump().empty() && TensorsAreSound(contents.tensors, bytes);
  });
  EXPECT_GT(refused, 1500);
}

}  // namespace
}  // namespace fptq
