#include "io/safetensors.h"

#include <gtest/gtest.h>

#include <cstring>

#include "base/test_util.h"
#include "io/hostile_test_util.h"

namespace fptq {
namespace {

std::string File(std::string_view header, size_t data_bytes) {
  const uint64_t length = header.size();
  std::string file(8, '\0');
  std::memcpy(file.data(), &length, 8);
  return file + std::string(header) + std::string(data_bytes, 'x');
}

std::string ErrorFor(const std::string& file) {
  const std::vector<std::byte> bytes = HeapCopy(file);
  return ErrorOf([&] { ParseSafetensors(bytes, "f"); });
}

std::string ErrorForHeader(std::string_view header, size_t data_bytes) {
  return ErrorFor(File(header, data_bytes));
}

// A tensor entry with these fields and 8 bytes of data.
std::string ErrorForTensor(std::string_view dtype, std::string_view shape,
                           std::string_view offsets) {
  return ErrorForHeader(
      fmt::format(R"({{"t":{{"dtype":{},"shape":{},"data_offsets":{}}}}})", dtype, shape, offsets),
      8);
}

void ExpectContains(const std::string& message, std::string_view part) {
  EXPECT_NE(message.find(part), std::string::npos) << '"' << message << '"';
}

std::string WriteSmallFile(const std::filesystem::path& path) {
  SafetensorsWriter writer(path, {{"a", DataType::kF16, {2, 3}},
                                  {"empty", DataType::kF32, {0, 4}},
                                  {"scalar", DataType::kI64, {}}});
  const std::vector<std::byte> bytes(12, std::byte{7});
  writer.Write("a", std::span(bytes).first(5));
  writer.Write("a", std::span(bytes).first(7));
  writer.Write("scalar", std::span(bytes).first(8));
  writer.Close();
  return ReadFile(path);
}

TEST(SafetensorsTest, WritesWhatItReads) {
  const TempFolder folder;
  const std::string text = WriteSmallFile(folder / "a");
  EXPECT_EQ(WriteSmallFile(folder / "b"), text);
  uint64_t header = 0;
  std::memcpy(&header, text.data(), 8);
  EXPECT_EQ(header % 8, 0u);
  EXPECT_EQ(text.substr(8, 34), R"({"__metadata__":{"format":"pt"},"a)");
  const std::vector<std::byte> bytes = HeapCopy(text);
  const auto tensors = ParseSafetensors(bytes, "a");
  ASSERT_EQ(tensors.size(), 3u);
  EXPECT_EQ(tensors.at("a").type, DataType::kF16);
  EXPECT_EQ(tensors.at("a").shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(tensors.at("a").bytes.size(), 12u);
  EXPECT_EQ(tensors.at("a").bytes.data(), bytes.data() + 8 + header);
  EXPECT_EQ(tensors.at("empty").bytes.size(), 0u);
  EXPECT_EQ(tensors.at("scalar").ElementCount(), 1);
}

TEST(SafetensorsTest, WriterRefusesWhatWasNotDeclared) {
  const TempFolder folder;
  const std::vector<std::byte> bytes(16);
  const auto write = [&](std::string_view name, size_t size) {
    SafetensorsWriter writer(folder / fmt::format("{}{}", name, size),
                             {{"a", DataType::kF32, {2}}, {"b", DataType::kU8, {1}}});
    writer.Write(name, std::span(bytes).first(size));
    writer.Close();
  };
  EXPECT_DEATH(write("b", 1), "check failed");  // out of order
  EXPECT_DEATH(write("a", 9), "check failed");  // too many bytes
  EXPECT_DEATH(write("a", 8), "check failed");  // "b" is not written
}

TEST(SafetensorsTest, HeaderLength) {
  ExpectContains(ErrorFor(""), "f: expected a header length of 8 bytes, found 0");
  ExpectContains(ErrorFor("1234567"), "found 7 bytes in all");
  ExpectContains(ErrorFor(std::string(8, '\0')), "expected a header of 1 to 100000000 bytes");
  ExpectContains(ErrorFor(std::string(100, '\xff')), "found 18446744073709551615");
  std::string file = File("{}", 0);
  file[0] = 3;
  ExpectContains(ErrorFor(file), "the header of 3 bytes goes past the end of the file (10 bytes)");
  EXPECT_EQ(ErrorFor(File("{}", 0)), "");
}

TEST(SafetensorsTest, HeaderIsAnObjectOfTensors) {
  ExpectContains(ErrorForHeader("[]", 0), "not a JSON object");
  ExpectContains(ErrorForHeader(" {}", 0), "not a JSON object");
  ExpectContains(ErrorForHeader("{\"t\":", 0), "not JSON");
  ExpectContains(ErrorForHeader("{} x", 0), "not JSON");
  EXPECT_EQ(ErrorForHeader("{}   ", 0), "");
  ExpectContains(ErrorForHeader(R"({"t":5})", 0), "tensor 't': expected an object, found number");
  ExpectContains(ErrorForHeader(R"({"t":{}})", 0), "tensor 't': 'dtype' is missing");
  const std::string t = R"("t":{"dtype":"U8","shape":[0],"data_offsets":[0,0]})";
  ExpectContains(ErrorForHeader("{" + t + "," + t + "}", 0), "the name 't' stands there twice");
  ExpectContains(ErrorForHeader(R"({"__metadata__":{"a":1}})", 0), "'a' is not a string");
  ExpectContains(ErrorForHeader(R"({"__metadata__":[]})", 0), "__metadata__ is not an object");
  EXPECT_EQ(ErrorForHeader(R"({"__metadata__":{"a":"1"}})", 0), "");
}

TEST(SafetensorsTest, TypesAndShapes) {
  EXPECT_EQ(ErrorForTensor(R"("F32")", "[1,2]", "[0,8]"), "");
  ExpectContains(ErrorForTensor(R"("F31")", "[2]", "[0,8]"), "dtype 'F31' is not supported");
  ExpectContains(ErrorForTensor(R"("Q4_0")", "[2]", "[0,8]"), "dtype 'Q4_0' is not supported");
  ExpectContains(ErrorForTensor("3", "[2]", "[0,8]"), "'dtype': expected a string");
  ExpectContains(ErrorForTensor(R"("F32")", "[3]", "[0,8]"),
                 "f: tensor 't': expected 12 bytes for F32 [3], found 8");
  ExpectContains(ErrorForTensor(R"("F32")", "[-2]", "[0,8]"), "shape: expected integers");
  ExpectContains(ErrorForTensor(R"("F32")", "[2.0]", "[0,8]"), "shape: expected integers");
  ExpectContains(ErrorForTensor(R"("F32")", R"(["2"])", "[0,8]"), "shape: expected integers");
  ExpectContains(ErrorForTensor(R"("F32")", "[9223372036854775808]", "[0,8]"), "shape: expected");
  ExpectContains(ErrorForTensor(R"("F32")", "2", "[0,8]"), "'shape': expected an array");
  // 2^32 * 2^32 * 4 wraps to 0 and 2^62 * 4 + ... to 8 in 64 bits.
  ExpectContains(ErrorForTensor(R"("F32")", "[4294967296,4294967296]", "[0,8]"), "is not valid");
  ExpectContains(ErrorForTensor(R"("F32")", "[4611686018427387906]", "[0,8]"), "is not valid");
}

TEST(SafetensorsTest, Offsets) {
  const std::string u8 = R"("U8")";
  ExpectContains(ErrorForTensor(u8, "[9]", "[0,9]"), "the offsets 0 to 9 do not lie in the 8");
  ExpectContains(ErrorForTensor(u8, "[0]", "[8,0]"), "the offsets 8 to 0");
  ExpectContains(ErrorForTensor(u8, "[8]", "[0]"), "data_offsets: expected 2 numbers, found 1");
  ExpectContains(ErrorForTensor(u8, "[8]", "[0,8,8]"), "expected 2 numbers, found 3");
  ExpectContains(ErrorForTensor(u8, "[8]", "[-1,7]"), "data_offsets: expected integers");
  ExpectContains(ErrorForTensor(u8, "[8]", "[0,8.0]"), "data_offsets: expected integers");
  ExpectContains(ErrorForTensor(u8, "[7]", "[1,8]"), "expected to begin at offset 0, found 1");
  ExpectContains(ErrorForTensor(u8, "[7]", "[0,7]"), "expected 7 bytes of tensors, found 8");
  const auto two = [](std::string_view a, std::string_view b) {
    return ErrorForHeader(fmt::format(R"({{"a":{{"dtype":"U8","shape":[4],"data_offsets":{}}},)"
                                      R"("b":{{"dtype":"U8","shape":[4],"data_offsets":{}}}}})",
                                      a, b),
                          8);
  };
  EXPECT_EQ(two("[4,8]", "[0,4]"), "");
  ExpectContains(two("[0,4]", "[3,7]"), "tensor 'b': expected to begin at offset 4, found 3");
  ExpectContains(two("[0,4]", "[0,4]"), "an overlap");
}

TEST(SafetensorsTest, TruncatedAnywhereIsAnError) {
  const TempFolder folder;
  const std::string file = WriteSmallFile(folder / "f");
  EXPECT_EQ(ErrorFor(file), "");
  for (size_t size = 0; size < file.size(); ++size) {
    EXPECT_NE(ErrorFor(file.substr(0, size)), "") << size;
  }
}

TEST(SafetensorsTest, DamagedFilesAreRefusedOrSound) {
  const TempFolder folder;
  const std::string file = WriteSmallFile(folder / "f");
  const int refused = Fuzz(file, 5000, [](std::span<const std::byte> bytes) {
    return TensorsAreSound(ParseSafetensors(bytes, "f"), bytes);
  });
  EXPECT_GT(refused, 2500);  // most of the file is header
}

}  // namespace
}  // namespace fptq
