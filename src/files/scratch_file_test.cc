#include "files/scratch_file.h"

#include <algorithm>

#include "base/test_util.h"

namespace fptq {
namespace {

TEST(ScratchFile, IsZeroedMemoryThatNobodySees) {
  const TempFolder folder;
  ScratchFile file(folder.path(), 100'000);
  ASSERT_EQ(file.bytes().size(), 100'000u);
  EXPECT_TRUE(std::ranges::all_of(file.bytes(), [](std::byte b) { return b == std::byte{0}; }));
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
  std::ranges::fill(file.bytes(), std::byte{7});
  ScratchFile moved = std::move(file);
  EXPECT_EQ(moved.bytes()[99'999], std::byte{7});
  EXPECT_TRUE(file.bytes().empty());
}

TEST(ScratchFile, SaysWhyThereIsNone) {
  const TempFolder folder;
  EXPECT_ERROR("absent", ScratchFile(folder / "absent", 10));
  EXPECT_ERROR("temporary file of", ScratchFile(folder.path(), int64_t{1} << 60));
}

}  // namespace
}  // namespace fptq
