#include "base/atomic_write.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>

#include "base/test_util.h"

namespace fptq {
namespace {

namespace fs = std::filesystem;

int64_t EntriesIn(const fs::path& folder) {
  return std::distance(fs::directory_iterator(folder), fs::directory_iterator());
}

TEST(OutputFileTest, WritesAndRemovesWhatIsNotClosed) {
  const TempFolder folder;
  {
    OutputFile kept(folder / "kept");
    OutputFile dropped(folder / "dropped");
    kept.Write("ab");
    kept.Write("c");
    dropped.Write("x");
    kept.Close();
  }
  EXPECT_EQ(ReadFile(folder / "kept"), "abc");
  EXPECT_FALSE(fs::exists(folder / "dropped"));
  EXPECT_ERROR("kept: cannot create: File exists", OutputFile(folder / "kept"));
  EXPECT_ERROR("no/file: cannot create", OutputFile(folder / "no/file"));
}

// A limit on the size of files fails like a full disk: a write comes back short, then with an
// error.
TEST(OutputFileTest, AFullDiskIsAnError) {
  const TempFolder folder;
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit old;
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &old), 0);
  const rlimit limit = {1000, old.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
  const std::string message = ErrorOf([&] {
    OutputFile file(folder / "big");
    file.Write(std::string(2000, 'x'));
    file.Close();
  });
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &old), 0);
  std::signal(SIGXFSZ, SIG_DFL);
  EXPECT_NE(message.find("big: cannot write"), std::string::npos) << message;
  EXPECT_EQ(EntriesIn(folder.path()), 0);
}

TEST(WriteFileAtomicallyTest, ReplacesAFile) {
  const TempFolder folder;
  WriteFileAtomically(folder / "f", "1");
  WriteFileAtomically(folder / "f", "2");
  EXPECT_EQ(ReadFile(folder / "f"), "2");
  EXPECT_EQ(EntriesIn(folder.path()), 1);
  fs::create_directory(folder / "d");
  EXPECT_ERROR("d: cannot move", WriteFileAtomically(folder / "d", "1"));
  EXPECT_EQ(EntriesIn(folder.path()), 2);
}

}  // namespace
}  // namespace fptq
