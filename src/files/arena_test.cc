#include "files/arena.h"

#include <algorithm>
#include <cstring>
#include <random>
#include <utility>

#include "base/test_util.h"

namespace fptq {
namespace {

// Whoever gets memory fills it with a number of its own: nobody's may be overwritten by another.
void ExpectZeroedAlignedAndNotShared(Arena arena) {
  std::mt19937 random(1);
  std::vector<std::pair<std::byte*, size_t>> given;
  for (int i = 0; i < 200; ++i) {
    const size_t bytes = i == 100 ? size_t{50} << 20 : random() % (i < 100 ? 200 : 1'000'000);
    std::byte* const p = arena.Allocate(static_cast<int64_t>(bytes));
    ASSERT_EQ(reinterpret_cast<uintptr_t>(p) % 64, 0u);
    ASSERT_TRUE(std::all_of(p, p + bytes, [](std::byte b) { return b == std::byte{0}; })) << i;
    std::memset(p, i + 1, bytes);
    given.emplace_back(p, bytes);
  }
  for (size_t i = 0; i < given.size(); ++i) {
    const auto [p, bytes] = given[i];
    const auto expected = static_cast<std::byte>(i + 1);
    EXPECT_TRUE(std::all_of(p, p + bytes, [&](std::byte b) { return b == expected; })) << i;
  }
}

TEST(Arena, MemoryIsZeroedAlignedAndNotShared) { ExpectZeroedAlignedAndNotShared(Arena()); }

TEST(Arena, SoIsThatOfFiles) {
  const TempFolder folder;
  ExpectZeroedAlignedAndNotShared(Arena(folder.path()));
}

TEST(Arena, BuffersReachIntoIt) {
  Arena arena;
  AlignedBuffer<float> a = MakeBuffer<float>(100, &arena), b = MakeBuffer<float>(100, &arena);
  a[99] = 1;
  b[0] = 2;
  const AlignedBuffer<float> moved = std::move(a);
  EXPECT_EQ(moved[99], 1);
  EXPECT_EQ(b.data() - moved.data(), 112);  // 400 bytes, rounded up to whole cache lines
  EXPECT_EQ(MakeBuffer<float>(3, nullptr).size(), 3);
}

}  // namespace
}  // namespace fptq
