#include "engine/page_pool.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <vector>

namespace fptq {
namespace {

std::vector<int32_t> Tokens(int64_t count, int32_t first = 0) {
  std::vector<int32_t> tokens;
  for (int64_t i = 0; i < count; ++i) tokens.push_back(first + static_cast<int32_t>(i));
  return tokens;
}

constexpr auto kNoCopy = [](int32_t, int32_t) { ADD_FAILURE() << "a page was copied"; };

// A sequence of `tokens` that found nothing, and was computed.
void Fill(PagePool& pool, const std::vector<int32_t>& tokens) {
  BlockTable table(pool);
  ASSERT_TRUE(table.Reserve(std::ssize(tokens)));
  table.Keep(tokens);
}

TEST(PagePool, HandsOutPagesInOrderAndTakesThemBack) {
  PagePool pool(5);
  {
    BlockTable a(pool), b(pool);
    EXPECT_TRUE(a.Reserve(kKvBlock + 1));
    EXPECT_TRUE(a.Reserve(5));  // there is room already
    EXPECT_EQ(std::vector(a.pages().begin(), a.pages().end()), (std::vector<int32_t>{0, 1}));
    EXPECT_TRUE(b.Reserve(3 * kKvBlock));
    EXPECT_EQ(pool.available(), 0);
    EXPECT_FALSE(a.Reserve(2 * kKvBlock + 1));
    EXPECT_EQ(a.pages().size(), 2u);
    b.Clear();
    EXPECT_EQ(pool.available(), 3);
    EXPECT_FALSE(a.Reserve(6 * kKvBlock));  // takes none of those that there are
    EXPECT_EQ(pool.available(), 3);
  }
  EXPECT_EQ(pool.available(), 5);
  EXPECT_EQ(pool.findable(), 0);
}

TEST(PagePool, SharesWholePages) {
  PagePool pool(8);
  const std::vector<int32_t> tokens = Tokens(3 * kKvBlock);
  BlockTable first(pool);
  ASSERT_TRUE(first.Reserve(std::ssize(tokens)));
  first.Keep(tokens);
  for (const int64_t count : {int64_t{0}, kKvBlock - 1, kKvBlock, 2 * kKvBlock + 1}) {
    BlockTable second(pool);
    const auto asked = std::span(tokens).first(static_cast<size_t>(count));
    EXPECT_EQ(second.Share(asked), count / kKvBlock * kKvBlock);
    EXPECT_TRUE(std::ranges::equal(second.pages(), first.pages().first(second.pages().size())));
  }
  std::vector<int32_t> other = tokens;
  other[kKvBlock] = 7;  // what follows has another beginning, so it is not found
  BlockTable second(pool);
  EXPECT_EQ(second.Share(other), kKvBlock);
  first.Clear();
  EXPECT_EQ(pool.available(), 7);  // `second` still has one of them
}

TEST(PagePool, CopiesWhatAPageBeginsWith) {
  PagePool pool(8);
  const std::vector<int32_t> tokens = Tokens(kKvBlock + 30);
  Fill(pool, tokens);
  std::vector<int32_t> asked = Tokens(kKvBlock + 40);
  asked[kKvBlock + 20] = 1000;
  BlockTable table(pool);
  EXPECT_EQ(table.Share(asked), kKvBlock);
  int copies = 0;
  EXPECT_EQ(table.ShareTail(asked,
                            [&](int32_t from, int32_t to) {
                              ++copies;
                              EXPECT_EQ(from, 1);
                              EXPECT_EQ(to, table.pages().size() == 1 ? 2 : -1);
                            }),
            20);
  EXPECT_EQ(copies, 1);
  EXPECT_EQ(table.pages().size(), 2u);

  BlockTable none(pool);  // of other tokens nothing is known
  const std::vector<int32_t> others = Tokens(10, 500);
  EXPECT_EQ(none.Share(others) + none.ShareTail(others, kNoCopy), 0);
}

// A page that grows: its owner goes on while others copy what it had.
TEST(PagePool, FindsAPageThatIsNotFull) {
  PagePool pool(4);
  const std::vector<int32_t> tokens = Tokens(kKvBlock);
  BlockTable owner(pool);
  ASSERT_TRUE(owner.Reserve(1));
  for (const size_t count : {3u, 10u, 64u}) {
    owner.Keep(std::span(tokens).first(count));
    EXPECT_EQ(pool.findable(), 1);
    BlockTable table(pool);
    int64_t found = table.Share(tokens);
    if (found == 0) found = table.ShareTail(tokens, [](int32_t, int32_t) {});
    EXPECT_EQ(found, static_cast<int64_t>(count));
  }
}

TEST(PagePool, OfEqualPagesOneIsKept) {
  PagePool pool(4);
  const std::vector<int32_t> tokens = Tokens(2 * kKvBlock);
  BlockTable a(pool), b(pool);
  ASSERT_TRUE(a.Reserve(std::ssize(tokens)));
  ASSERT_TRUE(b.Reserve(std::ssize(tokens)));
  a.Keep(std::span(tokens).first(kKvBlock));
  b.Keep(tokens);
  a.Keep(tokens);
  EXPECT_EQ(pool.findable(), 2);
  EXPECT_EQ(pool.available(), 2);
  EXPECT_TRUE(std::ranges::equal(a.pages(), b.pages()));
}

TEST(PagePool, ForgetsWhatHasBeenUnusedForLongest) {
  PagePool pool(4);
  const std::vector<int32_t> a = Tokens(2 * kKvBlock), b = Tokens(2 * kKvBlock, 1000);
  Fill(pool, a);
  Fill(pool, b);
  const auto found = [&](const std::vector<int32_t>& tokens) {
    BlockTable table(pool);
    return table.Share(tokens);
  };
  EXPECT_EQ(found(a), 2 * kKvBlock);  // used last from now on
  Fill(pool, Tokens(kKvBlock, 2000));
  EXPECT_EQ(found(b), kKvBlock);  // its end goes first
  EXPECT_EQ(found(a), 2 * kKvBlock);
  Fill(pool, Tokens(3 * kKvBlock, 3000));
  EXPECT_EQ(found(a), kKvBlock);
  EXPECT_EQ(found(b), 0);
}

// A page is what follows all that is before it: its own tokens alone do not make it.
TEST(PagePool, EqualTokensAfterOthersAreAnotherPage) {
  PagePool pool(4);
  std::vector<int32_t> tokens = Tokens(2 * kKvBlock);
  Fill(pool, tokens);
  tokens[0] = 9;
  BlockTable table(pool);
  EXPECT_EQ(table.Share(tokens), 0);
  EXPECT_EQ(table.ShareTail(tokens, kNoCopy), 0);
}

TEST(PagePool, WithoutPrefixCacheNothingIsFound) {
  PagePool pool(4, /*prefix_cache=*/false);
  const std::vector<int32_t> tokens = Tokens(2 * kKvBlock);
  Fill(pool, tokens);
  BlockTable table(pool);
  EXPECT_EQ(table.Share(tokens), 0);
  EXPECT_EQ(table.ShareTail(tokens, kNoCopy), 0);
}

// Against a model of what each page holds: whatever is found is what was asked for, no page is lost
// and none is written while others have it.
TEST(PagePool, HoldsInAnyOrderOfUse) {
  std::mt19937 random(1);
  const auto below = [&](int64_t n) {
    return static_cast<int64_t>(random() % static_cast<uint64_t>(n));
  };
  for (int round = 0; round < 20; ++round) {
    const int64_t size = 4 + below(20);
    PagePool pool(size);
    std::map<int32_t, std::vector<int32_t>> held;  // by page: all tokens up to its last one
    struct Sequence {
      explicit Sequence(PagePool& p) : table(p) {}
      BlockTable table;
      std::vector<int32_t> tokens;
    };
    std::vector<std::unique_ptr<Sequence>> sequences;
    const auto write = [&](Sequence& s, int64_t from) {
      for (int64_t block = from / kKvBlock; block < std::ssize(s.table.pages()); ++block) {
        const int32_t page = s.table.pages()[static_cast<size_t>(block)];
        for (const auto& other : sequences) {
          if (other.get() == &s) continue;
          EXPECT_EQ(std::count(other->table.pages().begin(), other->table.pages().end(), page), 0)
              << "written while shared";
        }
        const auto end = std::min<int64_t>((block + 1) * kKvBlock, std::ssize(s.tokens));
        held[page] = {s.tokens.begin(), s.tokens.begin() + end};
      }
    };
    const auto expect_held = [&](const Sequence& s, int64_t count) {
      for (int64_t block = 0; block * kKvBlock < count; ++block) {
        const std::vector<int32_t>& there = held[s.table.pages()[static_cast<size_t>(block)]];
        const auto end = static_cast<size_t>(std::min<int64_t>((block + 1) * kKvBlock, count));
        ASSERT_GE(there.size(), end);
        EXPECT_TRUE(std::equal(there.begin(), there.begin() + static_cast<std::ptrdiff_t>(end),
                               s.tokens.begin()));
      }
    };
    for (int step = 0; step < 300; ++step) {
      if (sequences.empty() || below(3) == 0) {
        auto s = std::make_unique<Sequence>(pool);
        // Two kinds of beginnings, so that much is shared; then it goes its own way.
        const int64_t length = 1 + below(4 * kKvBlock), same = below(length + 1);
        const int64_t kind = below(2);
        for (int64_t i = 0; i < length; ++i) {
          s->tokens.push_back(static_cast<int32_t>(i < same ? kind : below(3)));
        }
        sequences.push_back(std::move(s));
        Sequence& added = *sequences.back();
        int64_t known = added.table.Share(added.tokens);
        expect_held(added, known);
        known += added.table.ShareTail(added.tokens,
                                       [&](int32_t from, int32_t to) { held[to] = held[from]; });
        expect_held(added, known);
        if (!added.table.Reserve(length)) {
          sequences.pop_back();
          continue;
        }
        if (known < length) write(added, known);
        added.table.Keep(added.tokens);
      } else if (below(2) == 0) {
        Sequence& s = *sequences[static_cast<size_t>(below(std::ssize(sequences)))];
        const int64_t before = std::ssize(s.tokens);
        for (int64_t i = below(kKvBlock); i >= 0; --i) {
          s.tokens.push_back(static_cast<int32_t>(below(3)));
        }
        if (s.table.Reserve(std::ssize(s.tokens))) {
          write(s, before);
          if (below(2) == 0) s.table.Keep(s.tokens);
        } else {
          s.tokens.resize(static_cast<size_t>(before));
        }
      } else {
        sequences.erase(sequences.begin() + below(std::ssize(sequences)));
      }
      std::set<int32_t> used;
      for (const auto& s : sequences) {
        used.insert(s->table.pages().begin(), s->table.pages().end());
        expect_held(*s, std::ssize(s->tokens));
      }
      ASSERT_EQ(pool.available(), size - std::ssize(used));
    }
    sequences.clear();
    EXPECT_EQ(pool.available(), size);
  }
}

}  // namespace
}  // namespace fptq
