#include "files/paths.h"

#include "base/test_util.h"

namespace fptq {
namespace {

namespace fs = std::filesystem;

TEST(Paths, WhatCannotBeLookedAtIsAnError) {
  const TempFolder folder;
  EXPECT_FALSE(Exists(folder / "no/file"));
  EXPECT_FALSE(IsFolder(folder.Write("f", "1")));
  EXPECT_TRUE(IsFolder(folder.path()));
  EXPECT_ERROR("File name too long", Exists(folder.path() / std::string(5000, 'x')));
  fs::create_symlink("loop", folder / "loop");
  EXPECT_ERROR("loop: cannot look at it", Exists(folder / "loop"));
  EXPECT_ERROR("no: cannot list", EntriesOf(folder / "no"));
}

TEST(Paths, OutputPathGoesWhereTheSystemGoes) {
  const TempFolder folder;
  const fs::path real = fs::canonical(folder.path());
  fs::create_directories(folder / "a/b");
  fs::create_directory_symlink("a/b", folder / "link");
  EXPECT_EQ(OutputPath(folder / "new"), real / "new");
  EXPECT_EQ(OutputPath(folder / "new/"), real / "new");
  EXPECT_EQ(OutputPath(folder / "link/new"), real / "a/b/new");
  EXPECT_EQ(OutputPath(folder / "link/../new"), real / "a/new");  // not folder/new
  EXPECT_EQ(OutputPath(folder / "link/.."), real / "a");
  EXPECT_EQ(OutputPath(folder / "link"), real / "link");  // the link itself
  EXPECT_EQ(OutputPath("/"), "/");
  EXPECT_ERROR("no/new: cannot create: No such", OutputPath(folder / "no/new"));
  EXPECT_ERROR("empty", OutputPath(""));
}

TEST(InputFiles, AreFoundByWhateverName) {
  const TempFolder folder;
  fs::create_directories(folder / "model/sub");
  fs::create_directory(folder / "blobs");
  folder.Write("blobs/weights", "1");
  folder.Write("model/config", "1");
  folder.Write("text", "1");
  fs::create_symlink("../blobs/weights", folder / "model/weights");
  fs::create_directory_symlink("model", folder / "link");
  const InputFiles inputs = {folder / "model", folder / "text", folder / "absent", ""};
  const auto in = [&](const fs::path& path) {
    return inputs.FirstIn(folder / path.string()).filename();
  };
  EXPECT_EQ(in("model"), "model");
  EXPECT_EQ(in("link"), "model");
  EXPECT_EQ(in("model/sub/.."), "model");
  EXPECT_EQ(in("."), "model");        // which lies in it
  EXPECT_EQ(in("blobs"), "weights");  // a link in the model leads there
  EXPECT_EQ(in("model/sub"), "");
  fs::create_directory(folder / "other");
  fs::create_hard_link(folder / "text", folder / "other/t");
  EXPECT_EQ(in("other"), "text");
  EXPECT_EQ(inputs.FirstIn(fs::current_path()), fs::canonical("."));

  EXPECT_TRUE(inputs.Contains(folder / "other/t"));
  EXPECT_TRUE(inputs.Contains(folder / "link/../text"));
  EXPECT_FALSE(inputs.Contains(folder / "model/config"));  // others may lie there
  EXPECT_FALSE(inputs.Contains(folder / "absent"));
}

TEST(Paths, LastName) {
  EXPECT_EQ(LastName("a/model"), "model");
  EXPECT_EQ(LastName("a/model/"), "model");
  EXPECT_EQ(LastName("a/model/."), "model");
  EXPECT_EQ(LastName("."), std::filesystem::current_path().filename().string());
}

}  // namespace
}  // namespace fptq
