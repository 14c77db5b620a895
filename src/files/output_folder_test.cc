#include "files/output_folder.h"

#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <iterator>
#include <map>

#include "base/test_util.h"
#include "files/atomic_write.h"

namespace fptq {
namespace {

namespace fs = std::filesystem;

// Files "mark", "config" and "f..." are an output; "state..." is work.
constexpr OutputKind kKind = {
    .marks = {"mark", "config"},
    .in_output =
        [](std::string_view name) {
          return name == "mark" || name == "config" || name.starts_with("f");
        },
    .in_work = [](std::string_view name) { return name.starts_with("state"); }};

class TestOutput : public OutputFolder {
 public:
  TestOutput(const fs::path& path, bool replace, InputFiles inputs = {})
      : OutputFolder(path, replace, kKind, std::move(inputs)) {}

  void Fill(std::string_view content) const {
    for (const char* name : {"mark", "config", "f"}) {
      WriteFileAtomically(staging() / name, content);
    }
  }
};

int64_t EntriesIn(const fs::path& folder) {
  return std::distance(fs::directory_iterator(folder), fs::directory_iterator());
}

std::map<std::string, std::string> FilesBelow(const fs::path& folder) {
  std::map<std::string, std::string> files;
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(folder)) {
    files[entry.path().string()] = entry.is_regular_file() ? ReadFile(entry.path()) : "";
  }
  return files;
}

void MakeOutput(const fs::path& path, std::string_view content) {
  TestOutput output(path, /*replace=*/false);
  output.Fill(content);
  output.Commit();
}

TEST(OutputFolderTest, AppearsAsAWholeOrNotAtAll) {
  const TempFolder folder;
  {
    TestOutput output(folder / "a/", /*replace=*/false);
    output.Fill("1");
    EXPECT_FALSE(fs::exists(folder / "a"));
    output.Commit();
  }
  EXPECT_EQ(ReadFile(folder / "a/f"), "1");
  {
    TestOutput output(folder / "b", /*replace=*/false);
    output.Fill("1");
  }
  EXPECT_EQ(EntriesIn(folder.path()), 1);
  EXPECT_ERROR("cannot create", TestOutput(folder / "no/b", /*replace=*/false));
}

TEST(OutputFolderTest, ReplacesOnlyWhenAsked) {
  const TempFolder folder;
  MakeOutput(folder / "a", "1");
  EXPECT_ERROR("a: already exists", TestOutput(folder / "a", /*replace=*/false));
  {
    TestOutput output(folder / "a", /*replace=*/true);
    output.Fill("2");
    WriteFileAtomically(output.staging() / "f2", "2");
    EXPECT_EQ(ReadFile(folder / "a/f"), "1");
    output.Commit();
  }
  EXPECT_EQ(ReadFile(folder / "a/f"), "2");
  EXPECT_EQ(EntriesIn(folder / "a"), 4);
  EXPECT_EQ(EntriesIn(folder.path()), 1);
}

// `change` makes the output, or the work on it, something that is not to be touched.
TEST(OutputFolderTest, ReplacesOnlyWhatItWrote) {
  const auto refused = [](const char* part, const std::function<void(const TempFolder&)>& change) {
    const TempFolder folder;
    MakeOutput(folder / "a", "1");
    change(folder);
    const auto before = FilesBelow(folder.path());
    EXPECT_ERROR(part, TestOutput(folder / "a", /*replace=*/true));
    EXPECT_ERROR(part, OutputFolder::Check(folder / "a", /*replace=*/true, kKind, {}));
    EXPECT_EQ(FilesBelow(folder.path()), before) << part;
  };
  using Folder = const TempFolder&;
  refused("found 'precious' in it", [](Folder f) { f.Write("a/precious", "1"); });
  refused("found 'f1' in it", [](Folder f) { fs::create_directory(f / "a/f1"); });
  refused("found 'f1' in it", [](Folder f) { fs::create_symlink("f", f / "a/f1"); });
  refused("found no mark with config", [](Folder f) { fs::remove(f / "a/mark"); });
  refused("found no mark with config", [](Folder f) { fs::remove(f / "a/config"); });
  refused("found no mark with config", [](Folder f) {
    fs::remove_all(f / "a");
    fs::create_directory(f / "a");
  });
  refused("a: exists and is not a folder", [](Folder f) {
    fs::rename(f / "a", f / "b");
    fs::create_directory_symlink("b", f / "a");
  });
  refused("a: exists and is not a folder", [](Folder f) {
    fs::remove_all(f / "a");
    f.Write("a", "1");
  });
  const auto make_work = [](Folder f, const char* name) {
    fs::create_directories((f / "a.partial" / name).parent_path());
    f.Write(std::string("a.partial/") + name, "1");
  };
  refused("a.partial: expected a folder that an interrupted run left, found precious",
          [&](Folder f) {
            make_work(f, "lock");
            make_work(f, "precious");
          });
  refused("found output/precious", [&](Folder f) {
    make_work(f, "lock");
    make_work(f, "output/precious");
  });
  refused("found replaced", [&](Folder f) {
    make_work(f, "lock");
    make_work(f, "replaced/f/f");
  });
  refused("found something else", [&](Folder f) { make_work(f, "state"); });
  refused("found something else", [&](Folder f) { f.Write("a.partial", "1"); });
  refused("found something else", [&](Folder f) {
    fs::create_directory(f / "b");
    fs::create_directory_symlink("b", f / "a.partial");
  });
}

TEST(OutputFolderTest, KeepsOffInputs) {
  const TempFolder folder;
  MakeOutput(folder / "a", "1");
  fs::create_directories(folder / "a.partial/output");
  folder.Write("a.partial/lock", "");
  folder.Write("a.partial/state", "1");
  folder.Write("a.partial/output/f", "1");
  fs::create_symlink("a/f", folder / "link");
  fs::create_hard_link(folder / "a/config", folder / "hard");
  const auto before = FilesBelow(folder.path());
  for (const char* input : {"a", "a/f", "link", "hard", "a/../a/f", "a.partial", "a.partial/state",
                            "a.partial/output", "a.partial/output/f"}) {
    EXPECT_ERROR("other than the source",
                 TestOutput(folder / "a", /*replace=*/true, {folder / input}));
  }
  const fs::path here = fs::current_path();
  for (const char* where : {"a", "a.partial", "a.partial/output"}) {
    fs::current_path(folder / where);
    EXPECT_ERROR("other than the source", TestOutput(folder / "a", /*replace=*/true));
  }
  fs::current_path(here);
  EXPECT_EQ(FilesBelow(folder.path()), before);
}

// What others put into the output while the work was going on stays, and so does the work.
TEST(OutputFolderTest, LooksAgainBeforeItReplaces) {
  const TempFolder folder;
  MakeOutput(folder / "a", "1");
  {
    TestOutput output(folder / "a", /*replace=*/true);
    output.Fill("2");
    output.Keep();
    folder.Write("a/precious", "1");
    folder.Write("a.partial/precious", "1");
    EXPECT_ERROR("found 'precious' in it", output.Commit());
  }
  EXPECT_EQ(ReadFile(folder / "a/precious"), "1");
  EXPECT_EQ(ReadFile(folder / "a/f"), "1");
  EXPECT_EQ(ReadFile(folder / "a.partial/precious"), "1");
}

TEST(OutputFolderTest, KeepsWorkForTheNext) {
  const TempFolder folder;
  {
    TestOutput output(folder / "a", /*replace=*/false);
    EXPECT_EQ(output.work(), fs::canonical(folder.path()) / "a.partial");
    WriteFileAtomically(output.work() / "state", "1");
    output.Fill("1");
    output.Keep();
  }
  EXPECT_FALSE(fs::exists(folder / "a"));
  {
    TestOutput output(folder / "a", /*replace=*/false);
    EXPECT_EQ(ReadFile(output.work() / "state"), "1");
    EXPECT_EQ(EntriesIn(output.staging()), 0);
    output.Fill("2");
    output.Keep();
    output.Commit();
  }
  EXPECT_EQ(ReadFile(folder / "a/f"), "2");
  EXPECT_EQ(EntriesIn(folder / "a"), 3);
  EXPECT_EQ(EntriesIn(folder.path()), 1);
}

TEST(OutputFolderTest, IsForOneProcessAtATime) {
  const TempFolder folder;
  {
    TestOutput output(folder / "a", /*replace=*/false);
    EXPECT_TRUE(output.locked());
    EXPECT_ERROR("a: another process is at work on it", TestOutput(folder / "a", false));
    EXPECT_TRUE(fs::exists(output.staging()));
    TestOutput other(folder / "b", /*replace=*/false);
  }
  TestOutput(folder / "a", false).Commit();
  // A process that was killed holds it no longer.
  const pid_t child = fork();
  if (child == 0) {
    TestOutput output(folder / "c", /*replace=*/false);
    kill(getpid(), SIGKILL);
  }
  ASSERT_EQ(waitpid(child, nullptr, 0), child);
  EXPECT_TRUE(fs::exists(folder / "c.partial"));
  TestOutput(folder / "c", false).Commit();
  EXPECT_EQ(EntriesIn(folder.path()), 2);
}

// Killed between taking its name and removing what is not needed any more.
TEST(OutputFolderTest, RemovesWhatACommittedRunLeft) {
  const TempFolder folder;
  MakeOutput(folder / "a", "2");
  fs::create_directories(folder / "a.partial/replaced");
  folder.Write("a.partial/replaced/f", "1");
  folder.Write("a.partial/lock", "");
  folder.Write("a.partial/state", "1");
  EXPECT_ERROR("a: already exists", TestOutput(folder / "a", /*replace=*/false));
  EXPECT_FALSE(fs::exists(folder / "a.partial"));
  EXPECT_EQ(ReadFile(folder / "a/f"), "2");
}

// Killed between the two renames, where the file system cannot exchange folders.
TEST(OutputFolderTest, RestoresTheOldOutputFirst) {
  const TempFolder folder;
  const auto strand = [&] {
    fs::remove_all(folder / "a");
    MakeOutput(folder / "a", "old");
    fs::create_directories(folder / "a.partial/output");
    folder.Write("a.partial/lock", "");
    folder.Write("a.partial/output/f", "new");
    fs::rename(folder / "a", folder / "a.partial/replaced");
  };
  strand();
  EXPECT_ERROR("a: already exists", TestOutput(folder / "a", /*replace=*/false));
  EXPECT_EQ(ReadFile(folder / "a/f"), "old");
  strand();
  {
    TestOutput output(folder / "a", /*replace=*/true);
    EXPECT_EQ(ReadFile(folder / "a/f"), "old");
    output.Fill("new");
    output.Commit();
  }
  EXPECT_EQ(ReadFile(folder / "a/f"), "new");
  EXPECT_EQ(EntriesIn(folder.path()), 1);
  // Something else has taken the name: the only good copy stays where it is.
  strand();
  fs::create_directory(folder / "a");
  EXPECT_ERROR("a: already exists", TestOutput(folder / "a", /*replace=*/false));
  EXPECT_ERROR("found no mark with config", TestOutput(folder / "a", /*replace=*/true));
  EXPECT_EQ(ReadFile(folder / "a.partial/replaced/f"), "old");
}

TEST(OutputFolderTest, KeepsTheLockWhereSomethingIsLeft) {
  const TempFolder folder;
  {
    TestOutput output(folder / "a", /*replace=*/false);
    folder.Write("a.partial/precious", "1");
  }
  EXPECT_ERROR("found precious", TestOutput(folder / "a", /*replace=*/false));
  EXPECT_EQ(ReadFile(folder / "a.partial/precious"), "1");
  fs::remove(folder / "a.partial/precious");
  MakeOutput(folder / "a", "1");
  EXPECT_EQ(EntriesIn(folder.path()), 1);
}

TEST(OutputFolderTest, TakesAFolderThatIsEmpty) {
  const TempFolder folder;
  fs::create_directory(folder / "a.partial");  // a process was killed before it made the lock
  MakeOutput(folder / "a", "1");
  EXPECT_EQ(EntriesIn(folder.path()), 1);
}

}  // namespace
}  // namespace fptq
