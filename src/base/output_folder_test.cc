#include "base/output_folder.h"

#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <iterator>

#include "base/atomic_write.h"
#include "base/test_util.h"

namespace fptq {
namespace {

namespace fs = std::filesystem;

int64_t EntriesIn(const fs::path& folder) {
  return std::distance(fs::directory_iterator(folder), fs::directory_iterator());
}

TEST(OutputFolderTest, AppearsAsAWholeOrNotAtAll) {
  const TempFolder folder;
  {
    OutputFolder output(folder / "a/", /*replace=*/false);
    WriteFileAtomically(output.staging() / "f", "1");
    EXPECT_FALSE(fs::exists(folder / "a"));
    output.Commit();
  }
  EXPECT_EQ(ReadFile(folder / "a/f"), "1");
  {
    OutputFolder output(folder / "b", /*replace=*/false);
    WriteFileAtomically(output.staging() / "f", "1");
  }
  EXPECT_EQ(EntriesIn(folder.path()), 1);
}

TEST(OutputFolderTest, ReplacesOnlyWhenAsked) {
  const TempFolder folder;
  fs::create_directory(folder / "a");
  folder.Write("a/old", "1");
  EXPECT_ERROR("a: already exists", OutputFolder(folder / "a", /*replace=*/false));
  {
    OutputFolder output(folder / "a", /*replace=*/true);
    WriteFileAtomically(output.staging() / "new", "2");
    EXPECT_TRUE(fs::exists(folder / "a/old"));
    output.Commit();
  }
  EXPECT_FALSE(fs::exists(folder / "a/old"));
  EXPECT_EQ(ReadFile(folder / "a/new"), "2");
  EXPECT_EQ(EntriesIn(folder.path()), 1);
  EXPECT_ERROR("is not a folder", OutputFolder(folder.Write("f", "1"), /*replace=*/true));
  EXPECT_ERROR("cannot create the folder", OutputFolder(folder / "no/b", /*replace=*/false));
}

TEST(OutputFolderTest, KeepsWorkForTheNext) {
  const TempFolder folder;
  {
    OutputFolder output(folder / "a", /*replace=*/false);
    EXPECT_EQ(output.work(), folder / "a.partial");
    WriteFileAtomically(output.work() / "state", "1");
    WriteFileAtomically(output.staging() / "half", "1");
    output.Keep();
  }
  EXPECT_FALSE(fs::exists(folder / "a"));
  {
    OutputFolder output(folder / "a", /*replace=*/false);
    EXPECT_EQ(ReadFile(output.work() / "state"), "1");
    EXPECT_EQ(EntriesIn(output.staging()), 0);
    WriteFileAtomically(output.staging() / "f", "2");
    output.Keep();
    output.Commit();
  }
  EXPECT_EQ(ReadFile(folder / "a/f"), "2");
  EXPECT_EQ(EntriesIn(folder / "a"), 1);
  EXPECT_EQ(EntriesIn(folder.path()), 1);
}

TEST(OutputFolderTest, IsForOneProcessAtATime) {
  const TempFolder folder;
  {
    OutputFolder output(folder / "a", /*replace=*/false);
    EXPECT_ERROR("a: another process is at work on it", OutputFolder(folder / "a", false));
    EXPECT_TRUE(fs::exists(output.staging()));
    OutputFolder other(folder / "b", /*replace=*/false);
  }
  OutputFolder(folder / "a", false).Commit();
  // A process that was killed holds it no longer.
  const pid_t child = fork();
  if (child == 0) {
    OutputFolder output(folder / "c", /*replace=*/false);
    kill(getpid(), SIGKILL);
  }
  ASSERT_EQ(waitpid(child, nullptr, 0), child);
  EXPECT_TRUE(fs::exists(folder / "c.partial"));
  OutputFolder(folder / "c", false).Commit();
  EXPECT_EQ(EntriesIn(folder.path()), 2);
}

// Killed between taking its name and removing what is not needed any more.
TEST(OutputFolderTest, RemovesWhatACommittedRunLeft) {
  const TempFolder folder;
  fs::create_directory(folder / "a");
  fs::create_directory(folder / "a.partial");
  folder.Write("a.partial/lock", "");
  folder.Write("a.partial/state", "1");
  EXPECT_ERROR("a: already exists", OutputFolder(folder / "a", /*replace=*/false));
  EXPECT_FALSE(fs::exists(folder / "a.partial"));
}

TEST(OutputFolderTest, TouchesNoFolderOfOthers) {
  const TempFolder folder;
  fs::create_directory(folder / "a.partial");
  folder.Write("a.partial/precious", "1");
  EXPECT_ERROR("a.partial: expected a folder that an interrupted run left",
               OutputFolder(folder / "a", /*replace=*/false));
  EXPECT_EQ(ReadFile(folder / "a.partial/precious"), "1");
}

}  // namespace
}  // namespace fptq
