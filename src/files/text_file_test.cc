#include "files/text_file.h"

#include <gtest/gtest.h>

#include <string>

#include "base/json.h"
#include "base/test_util.h"
#include "files/json_file.h"

namespace fptq {
namespace {

using std::string_literals::operator""s;

TEST(Utf8Text, DropsAByteOrderMarkAndNothingElse) {
  for (const std::string& text : {""s, "a"s, "\r\n\0"s, "a\xef\xbb\xbf"s, "\xff"s, "\xef\xbb"s,
                                  "\xef\xbb\xbf"s, "a\0b\0\0c"s, "\0"s, "\0\0\0\0"s}) {
    EXPECT_EQ(Utf8Text("\xef\xbb\xbf" + text, "T"), text);
    const bool has_mark = text.starts_with("\xef\xbb\xbf");
    EXPECT_EQ(Utf8Text(text, "T"), has_mark ? "" : text);
  }
}

TEST(Utf8Text, NamesWiderEncodings) {
  for (const std::string& text :
       {"\xff\xfeh\0i\0"s, "\xfe\xff\0h\0i"s, "\xff\xfe"s, "h\0i\0"s, "\0h\0i\0!"s}) {
    EXPECT_ERROR("T: expected text in UTF-8, found UTF-16", Utf8Text(text, "T"));
  }
  for (const std::string& text : {"\xff\xfe\0\0h\0\0\0"s, "\0\0\xfe\xff\0\0\0h"s}) {
    EXPECT_ERROR("T: expected text in UTF-8, found UTF-32", Utf8Text(text, "T"));
  }
}

TEST(TextFile, ReadsAsUtf8TextDoes) {
  const TempFolder folder;
  EXPECT_EQ(TextFile(folder.Write("a", "\xef\xbb\xbfx\r\n")).text(), "x\r\n");
  const auto wide = folder.Write("b", "\xff\xfex\0"s);
  EXPECT_ERROR(wide.string() + ": expected text in UTF-8, found UTF-16", TextFile{wide});
  EXPECT_EQ(ReadJsonFile(folder.Write("c", "\xef\xbb\xbf{\"a\": 1}\r\n"))["a"], 1);
  EXPECT_ERROR("found UTF-16", ReadJsonFile(folder.Write("d", "{\0}\0"s)));
}

}  // namespace
}  // namespace fptq
