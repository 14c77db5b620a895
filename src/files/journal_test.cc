#include "files/journal.h"

#include "base/test_util.h"

namespace fptq {
namespace {

namespace fs = std::filesystem;

const Json kRecords[] = {{{"a", 1}}, {{"text", "two\nlines"}, {"x", 0.1}}, {{"b", {1, 2, 3}}}};

std::string WriteAll(const fs::path& path) {
  Journal journal(path);
  for (const Json& record : kRecords) journal.Append(record);
  return ReadFile(path);
}

TEST(Journal, KeepsRecords) {
  const TempFolder folder;
  WriteAll(folder / "j");
  Journal journal(folder / "j");
  EXPECT_EQ(journal.records(), std::vector<Json>(std::begin(kRecords), std::end(kRecords)));
  journal.Truncate(1);
  journal.Append(kRecords[2]);
  EXPECT_EQ(Journal(folder / "j").records(), (std::vector<Json>{kRecords[0], kRecords[2]}));
}

// Wherever the file is cut, the records before the cut are there, and more can be appended.
TEST(Journal, DropsATornRecord) {
  const TempFolder folder;
  const std::string text = WriteAll(folder / "j");
  for (size_t size = 0; size < text.size(); ++size) {
    const fs::path torn = folder.Write("torn", text.substr(0, size));
    const auto whole = static_cast<size_t>(std::count(text.begin(), text.begin() + size, '\n'));
    Journal journal(torn);
    ASSERT_EQ(journal.records().size(), whole) << size;
    journal.Append(kRecords[0]);
    ASSERT_EQ(Journal(torn).records().size(), whole + 1) << size;
    fs::remove(torn);
  }
}

TEST(Journal, EndsWhereItIsDamaged) {
  const TempFolder folder;
  const std::string text = WriteAll(folder / "j");
  const size_t second = text.find('\n') + 1, third = text.find('\n', second) + 1;
  for (size_t i = second; i < third; ++i) {
    std::string damaged = text;
    damaged[i] = static_cast<char>(damaged[i] ^ 1);
    const fs::path path = folder.Write("damaged", damaged);
    ASSERT_EQ(Journal(path).records().size(), 1u) << i;
    fs::remove(path);
  }
}

}  // namespace
}  // namespace fptq
