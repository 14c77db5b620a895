#include "text/unicode.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace fptq {
namespace {

std::string Nfc(std::string_view text) { return Normalize(NormalForm::kC, text); }

// Expected: unicodedata.normalize("NFC", text) of Python.
TEST(UnicodeTest, Nfc) {
  EXPECT_EQ(Nfc(""), "");
  EXPECT_EQ(Nfc("plain caf\xc3\xa9"), "plain caf\xc3\xa9");
  EXPECT_EQ(Nfc("cafe\xcc\x81"), "caf\xc3\xa9");
  EXPECT_EQ(Nfc("\xe2\x84\xab"), "\xc3\x85");                              // Angstrom sign
  EXPECT_EQ(Nfc("\xe1\x84\x80\xe1\x85\xa1\xe1\x86\xa8"), "\xea\xb0\x81");  // Hangul
  EXPECT_EQ(Nfc("\xe0\xa5\x98"), "\xe0\xa4\x95\xe0\xa4\xbc");  // excluded from composition
  // Marks in canonical order: cedilla (202) before acute (230); the acute is then blocked by
  // nothing.
  EXPECT_EQ(Nfc("e\xcc\x81\xcc\xa7"), "\xc8\xa9\xcc\x81");
  EXPECT_EQ(Nfc(std::string_view("e\xcc\x81\0x", 5)), std::string_view("\xc3\xa9\0x", 4));
}

// Expected: unicodedata.normalize(FORM, text) of Python.
TEST(UnicodeTest, OtherForms) {
  const std::string text = "caf\xc3\xa9\xc2\xa0\xef\xac\x81\xe2\x91\xa0\xef\xbd\xb6\xef\xbe\x9e";
  EXPECT_EQ(Normalize(NormalForm::kD, text),
            "cafe\xcc\x81\xc2\xa0\xef\xac\x81\xe2\x91\xa0\xef\xbd\xb6\xef\xbe\x9e");
  EXPECT_EQ(Normalize(NormalForm::kKC, text), "caf\xc3\xa9 fi1\xe3\x82\xac");
  EXPECT_EQ(Normalize(NormalForm::kKD, text), "cafe\xcc\x81 fi1\xe3\x82\xab\xe3\x82\x99");
  // The longest decomposition, of 18 characters.
  EXPECT_EQ(Normalize(NormalForm::kKC, "\xef\xb7\xba").size(), 33u);
}

TEST(UnicodeTest, Graphemes) {
  std::vector<std::string> graphemes;
  ForEachGrapheme(
      "ae\xcc\x81\r\n\xf0\x9f\x87\xa9\xf0\x9f\x87\xaa\xf0\x9f\x87\xa9"
      "\xf0\x9f\x91\xa8\xe2\x80\x8d\xf0\x9f\x91\xa9",
      [&](std::string_view grapheme) { graphemes.emplace_back(grapheme); });
  EXPECT_EQ(graphemes, (std::vector<std::string>{
                           "a", "e\xcc\x81", "\r\n", "\xf0\x9f\x87\xa9\xf0\x9f\x87\xaa",
                           "\xf0\x9f\x87\xa9", "\xf0\x9f\x91\xa8\xe2\x80\x8d\xf0\x9f\x91\xa9"}));
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
