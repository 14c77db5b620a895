#include "base/utf8.h"

#include <gtest/gtest.h>

namespace fptq {
namespace {

TEST(Utf8Test, KeepsWhatIsWellFormed) {
  const std::string text = "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\xf4\x8f\xbf\xbf";
  EXPECT_EQ(ReplaceIllFormedUtf8(text), text);
}

TEST(Utf8Test, ReplacesWhatIsNot) {
  const std::string r = "\xef\xbf\xbd";
  EXPECT_EQ(ReplaceIllFormedUtf8("a\x80z"), "a" + r + "z");
  EXPECT_EQ(ReplaceIllFormedUtf8("\xc0\xaf"), r + r);                  // overlong
  EXPECT_EQ(ReplaceIllFormedUtf8("\xe0\x80\x80"), r + r + r);          // overlong
  EXPECT_EQ(ReplaceIllFormedUtf8("\xed\xa0\x80"), r + r + r);          // a surrogate
  EXPECT_EQ(ReplaceIllFormedUtf8("\xf4\x90\x80\x80"), r + r + r + r);  // beyond U+10FFFF
  EXPECT_EQ(ReplaceIllFormedUtf8("\xe2\x82"), r + r);                  // cut off
}

}  // namespace
}  // namespace fptq
