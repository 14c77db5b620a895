#include "files/mapped_file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "base/test_util.h"

namespace fptq {
namespace {

TEST(MappedFileTest, MapsAndMoves) {
  const TempFolder folder;
  MappedFile a(folder.Write("a", "hello"));
  MappedFile b(std::move(a));
  EXPECT_TRUE(a.bytes().empty());  // NOLINT: what a moved-from file is
  MappedFile c(folder.Write("c", "other"));
  c = std::move(b);
  ASSERT_EQ(c.bytes().size(), 5u);
  EXPECT_EQ(c.bytes()[4], std::byte{'o'});
  EXPECT_EQ(c.path(), folder / "a");
}

TEST(MappedFileTest, Refuses) {
  const TempFolder folder;
  EXPECT_ERROR("none: cannot open: No such file", MappedFile(folder / "none"));
  EXPECT_ERROR("expected a file, found a folder", MappedFile(folder.path()));
  EXPECT_ERROR("empty: the file is empty", MappedFile(folder.Write("empty", "")));
  EXPECT_ERROR("lfs: is a Git LFS pointer",
               MappedFile(folder.Write("lfs",
                                       "version https://git-lfs.github.com/spec/v1\n"
                                       "oid sha256:0123\nsize 988097824\n")));
  ASSERT_EQ(mkfifo((folder / "pipe").c_str(), 0600), 0);
  EXPECT_ERROR("expected a file, found something else", MappedFile(folder / "pipe"));
}

}  // namespace
}  // namespace fptq
