#include "eval/request_file.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include <string>

#include "base/test_util.h"
#include "eval/text_lines.h"

namespace fptq {
namespace {

std::string LineOf(int doc, int index, const std::string& label, const std::string& continuation) {
  return R"({"doc_id": )" + std::to_string(doc) + R"(, "idx": )" + std::to_string(index) +
         R"(, "label": )" + label + R"(, "doc": {"x": [1]}, "request": {"context": "Q)" +
         std::to_string(doc) + R"(", "continuation": ")" + continuation + "\"}}\n";
}

std::string Gzip(const std::string& path, std::string_view text) {
  gzFile file = gzopen(path.c_str(), "wb");
  gzwrite(file, text.data(), static_cast<unsigned>(text.size()));
  gzclose(file);
  return path;
}

TEST(RequestFile, GroupsRequestsIntoDocuments) {
  const TempFolder folder;
  const std::string text = LineOf(3, 0, "1", " a") + LineOf(3, 1, "1", " b") +
                           LineOf(1000003, 0, "1", " a") + LineOf(4, 0, R"(["word"])", " word") +
                           LineOf(5, 0, "2", " x") + LineOf(5, 1, "2", " y") +
                           LineOf(5, 2, "2", " \\u00e9");
  for (const std::string& path :
       {std::string(folder.Write("plain", text)), Gzip(folder / "zipped.gz", text)}) {
    const auto docs = ReadRequestFile(path, 0);
    ASSERT_EQ(docs.size(), 3u) << "the unconditional copy is left out";
    EXPECT_EQ(docs[0].id, 3);
    EXPECT_EQ(docs[0].label, 1);
    ASSERT_EQ(docs[0].requests.size(), 2u);
    EXPECT_EQ(docs[0].requests[1].context, "Q3");
    EXPECT_EQ(docs[0].requests[1].continuation, " b");
    EXPECT_EQ(docs[1].label, 0) << "there is but one request";
    EXPECT_EQ(docs[2].requests[2].continuation, " \u00e9");
  }
}

TEST(RequestFile, LimitSpreadsOverTheFile) {
  const TempFolder folder;
  std::string text;
  for (int i = 0; i < 10; ++i) text += LineOf(i, 0, "0", " a");
  const std::string path = folder.Write("file", text);
  const auto ids = [&](int64_t limit) {
    std::vector<int64_t> found;
    for (const EvalDoc& doc : ReadRequestFile(path, limit)) found.push_back(doc.id);
    return found;
  };
  EXPECT_EQ(ids(3), (std::vector<int64_t>{0, 3, 6}));
  EXPECT_EQ(ids(1), (std::vector<int64_t>{0}));
  EXPECT_EQ(ids(10).size(), 10u);
  EXPECT_EQ(ids(1000).size(), 10u);
}

TEST(RequestFile, RefusesWhatIsNotOne) {
  const TempFolder folder;
  const std::string good = LineOf(0, 0, "1", " a") + LineOf(0, 1, "1", " b");
  int count = 0;
  const auto read = [&](const std::string& text) {
    return ReadRequestFile(folder.Write(std::to_string(++count), text), 0);
  };
  EXPECT_ERROR("no-such", ReadRequestFile(folder / "no-such", 0));
  EXPECT_ERROR("expected a file", ReadRequestFile(folder.path(), 0));
  EXPECT_ERROR("at least one request", read(""));
  EXPECT_ERROR("at least one request", read("\n \r\n"));
  EXPECT_ERROR("line 3: not JSON", read(good + "{\"doc_id\": 7"));
  EXPECT_ERROR("line 1", read("[]\n"));
  EXPECT_ERROR("request", read("{\"doc_id\": 7, \"idx\": 0}\n"));
  EXPECT_ERROR("doc_id", read("{\"request\": {}}\n"));
  EXPECT_ERROR("a label from 0 to 1, found 2",
               read(LineOf(0, 0, "2", " a") + LineOf(0, 1, "2", " b")));
  EXPECT_ERROR("found none", read(LineOf(0, 0, "null", " a") + LineOf(0, 1, "null", " b")));
  EXPECT_ERROR("line 2: expected idx 1", read(LineOf(0, 0, "1", " a") + LineOf(0, 0, "1", " b")));
  EXPECT_ERROR("line 2: expected idx 1", read(LineOf(0, 0, "1", " a") + LineOf(0, 1, "0", " b")));
  EXPECT_ERROR("label", read(LineOf(0, 0, "-1", " a")));
  EXPECT_ERROR("line 1: not JSON", read(std::string("\0\0\0", 3)));
  EXPECT_ERROR("found UTF-16", read("\xff\xfe{\0"));
}

// As other systems' editors leave it.
TEST(RequestFile, ReadsOtherSystemsLines) {
  const TempFolder folder;
  const std::string one = LineOf(0, 0, "0", " a"), other = LineOf(1, 0, "0", "");
  const auto with_cr = [](const std::string& line) {
    return line.substr(0, line.size() - 1) + "\r\n";
  };
  const auto docs = ReadRequestFile(
      folder.Write("file", "\xef\xbb\xbf" + with_cr(one) + "\r\n" + with_cr(other) + "\n \n"), 0);
  ASSERT_EQ(docs.size(), 2u);
  EXPECT_EQ(docs[0].requests[0].continuation, " a");
  EXPECT_EQ(docs[1].requests[0].continuation, "");  // it cannot be scored, but is no broken file
}

TEST(RequestFile, RefusesBrokenGzip) {
  const TempFolder folder;
  std::string text;
  for (int i = 0; i < 1000; ++i) text += LineOf(i, 0, "0", " a" + std::to_string(i * i));
  const std::string whole = ReadFile(Gzip(folder / "whole", text));
  EXPECT_EQ(ReadRequestFile(folder / "whole", 0).size(), 1000u);
  EXPECT_ERROR("cut", ReadRequestFile(folder.Write("cut", whole.substr(0, whole.size() / 2)), 0));
  std::string damaged = whole;
  damaged[whole.size() / 2] = static_cast<char>(damaged[whole.size() / 2] ^ 0x55);
  EXPECT_ERROR("damaged", ReadRequestFile(folder.Write("damaged", damaged), 0));
}

TEST(TextLines, BoundsALine) {
  const TempFolder folder;
  // 17 MB of zeros pack into 17 kB.
  TextLines lines(Gzip(folder / "bomb", std::string(17 << 20, 'x')));
  std::string line;
  EXPECT_ERROR("longer than 16777216 bytes", lines.Next(line));
}

TEST(TextLines, TheLastLineNeedsNoEnd) {
  const TempFolder folder;
  TextLines lines(folder.Write("file", "one\n\nthree"));
  std::string line;
  for (const char* expected : {"one", "three"}) {
    ASSERT_TRUE(lines.Next(line));
    EXPECT_EQ(line, expected);
  }
  EXPECT_EQ(lines.where(), (folder / "file").string() + ", line 3");
  EXPECT_FALSE(lines.Next(line));
}

}  // namespace
}  // namespace fptq
