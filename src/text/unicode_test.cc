#include "text/unicode.h"

#include <gtest/gtest.h>

namespace fptq {
namespace {

// Expected: unicodedata.normalize("NFC", text) of Python.
TEST(UnicodeTest, Nfc) {
  EXPECT_EQ(NormalizeNfc(""), "");
  EXPECT_EQ(NormalizeNfc("plain caf\xc3\xa9"), "plain caf\xc3\xa9");
  EXPECT_EQ(NormalizeNfc("cafe\xcc\x81"), "caf\xc3\xa9");
  EXPECT_EQ(NormalizeNfc("\xe2\x84\xab"), "\xc3\x85");                              // Angstrom sign
  EXPECT_EQ(NormalizeNfc("\xe1\x84\x80\xe1\x85\xa1\xe1\x86\xa8"), "\xea\xb0\x81");  // Hangul
  EXPECT_EQ(NormalizeNfc("\xe0\xa5\x98"), "\xe0\xa4\x95\xe0\xa4\xbc");  // excluded from composition
  // Marks in canonical order: cedilla (202) before acute (230); the acute is then blocked by
  // nothing.
  EXPECT_EQ(NormalizeNfc("e\xcc\x81\xcc\xa7"), "\xc8\xa9\xcc\x81");
  EXPECT_EQ(NormalizeNfc(std::string_view("e\xcc\x81\0x", 5)), std::string_view("\xc3\xa9\0x", 4));
}

TEST(UnicodeTest, Whitespace) {
  EXPECT_EQ(LeadingWhitespace(" \t\xe3\x80\x80x "), 5u);
  EXPECT_EQ(TrailingWhitespace(" x\xc2\x85\n"), 3u);
  EXPECT_EQ(LeadingWhitespace("\xe1\xa0\x8e"), 0u);  // U+180E is no white space
  EXPECT_EQ(LeadingWhitespace("  "), 2u);
  EXPECT_EQ(TrailingWhitespace("  "), 2u);
  EXPECT_EQ(TrailingWhitespace(""), 0u);
}

TEST(UnicodeTest, LastCharacter) {
  EXPECT_EQ(LastCharacter("a\xf0\x9f\x98\x80"), "\xf0\x9f\x98\x80");
  EXPECT_EQ(LastCharacter("\xc3\xa9z"), "z");
}

}  // namespace
}  // namespace fptq
