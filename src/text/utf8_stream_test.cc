#include <gtest/gtest.h>

#include "text/tokenizer.h"

namespace fptq {
namespace {

// All of `bytes`, pushed one by one.
std::string Stream(std::string_view bytes) {
  Utf8Stream stream;
  std::string out;
  for (const char& byte : bytes) out += stream.Push({&byte, 1});
  return out + stream.Finish();
}

std::string AtOnce(std::string_view bytes) {
  Utf8Stream stream;
  std::string out = stream.Push(bytes);
  return out + stream.Finish();
}

TEST(Utf8StreamTest, NeverSplitsACharacter) {
  Utf8Stream stream;
  EXPECT_EQ(stream.Push("a\xf0\x9f"), "a");
  EXPECT_EQ(stream.Push("\x98"), "");
  EXPECT_EQ(stream.Push("\x80z"), "\xf0\x9f\x98\x80z");
  EXPECT_EQ(stream.Finish(), "");
}

TEST(Utf8StreamTest, IllFormedBytesBecomeReplacementCharacters) {
  // Expected: Python's bytes.decode(errors="replace"), R standing for U+FFFD.
  const std::pair<std::string_view, std::string> cases[] = {
      {"a\xff"
       "b",
       "aRb"},
      {"\xe2\x82", "R"},  // a partial character is one
      {"\xe2\x82x", "Rx"},
      {"\xf0\x9f\x98", "R"},
      {"\xc0\xaf", "RR"},  // overlong
      {"\xe0\x80\xaf", "RRR"},
      {"\xed\xa0\x80", "RRR"},       // a surrogate
      {"\xf4\x90\x80\x80", "RRRR"},  // beyond U+10FFFF
      {"\xf0\x80\x80\x80", "RRRR"},
      {"\x80\x80", "RR"},
      {"\xe2\xe2\x82\xac", "R\xe2\x82\xac"},
      {"\xf1\x80\x80\xe1\x80\xc2"
       "b",
       "RRRb"},
  };
  for (const auto& [bytes, marked] : cases) {
    std::string expected;
    for (const char c : marked) {
      if (c == 'R') {
        expected += "\xef\xbf\xbd";
      } else {
        expected += c;
      }
    }
    EXPECT_EQ(AtOnce(bytes), expected) << marked;
    EXPECT_EQ(Stream(bytes), expected) << marked;
  }
}

TEST(Utf8StreamTest, FinishForgetsWhatItGave) {
  Utf8Stream stream;
  stream.Push("\xe2\x82");
  EXPECT_EQ(stream.Finish(), "\xef\xbf\xbd");
  EXPECT_EQ(stream.Push("\xac"), "\xef\xbf\xbd");
}

}  // namespace
}  // namespace fptq
