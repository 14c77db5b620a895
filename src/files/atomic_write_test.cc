#include "files/atomic_write.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

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
  EXPECT_ERROR("kept: cannot create: it exists", OutputFile(folder / "kept"));
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
  EXPECT_ERROR("d: expected a file to replace, found a folder",
               WriteFileAtomically(folder / "d", "1"));
  // By that, root would lose /dev/null.
  ASSERT_EQ(mkfifo((folder / "pipe").c_str(), 0600), 0);
  EXPECT_ERROR("pipe: expected a file to replace", WriteFileAtomically(folder / "pipe", "1"));
  EXPECT_EQ(EntriesIn(folder.path()), 3);
}

TEST(WriteFileAtomicallyTest, FollowsALink) {
  const TempFolder folder;
  folder.Write("f", "1");
  fs::create_symlink("f", folder / "link");
  WriteFileAtomically(folder / "link", "2");
  EXPECT_EQ(ReadFile(folder / "f"), "2");
  EXPECT_TRUE(fs::is_symlink(folder / "link"));
  EXPECT_ERROR("f: cannot create: it exists", OutputFile(folder / "link"));
}

TEST(OutputFileTest, DoesNotReplaceWhatCameMeanwhile) {
  const TempFolder folder;
  OutputFile file(folder / "f");
  file.Write("1");
  folder.Write("f", "precious");
  EXPECT_ERROR("f: cannot move the output here: File exists", file.Close());
  EXPECT_EQ(ReadFile(folder / "f"), "precious");
}

// In a container all processes may have the same number.
TEST(OutputFileTest, IsNotHinderedByWhatAKilledProcessLeft) {
  const TempFolder folder;
  for (int i = 0; i < 20; ++i) {
    folder.Write(fmt::format("{}{}-{}", kTemporaryPrefix, getpid(), i), "torn");
  }
  WriteFileAtomically(folder / "f", "1");
  EXPECT_EQ(ReadFile(folder / "f"), "1");
}

}  // namespace
}  // namespace fptq
