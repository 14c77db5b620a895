#include "engine/stop.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "base/test_util.h"
#include "base/utf8.h"

namespace fptq {
namespace {

using Strings = std::vector<std::string>;

TEST(StopMatcher, EndsTheTextBeforeTheString) {
  StopMatcher stop({"END"});
  EXPECT_EQ(stop.Push("one EN"), "one ");
  EXPECT_EQ(stop.Push("tity, an"), "ENtity, an");
  EXPECT_EQ(stop.Push("d E"), "d ");
  EXPECT_EQ(stop.Push("N"), "");
  EXPECT_FALSE(stop.stopped());
  EXPECT_EQ(stop.Push("D and more"), "");
  EXPECT_TRUE(stop.stopped());
  EXPECT_EQ(stop.Push("END"), "");
  EXPECT_EQ(stop.Finish(), "");
}

TEST(StopMatcher, ReleasesWhatWasHeldBackAtTheEnd) {
  StopMatcher stop({"\n\n"});
  EXPECT_EQ(stop.Push("text\n"), "text");
  EXPECT_EQ(stop.Finish(), "\n");
}

TEST(StopMatcher, TheFirstToBeWholeCounts) {
  StopMatcher stop({"bcdef", "cd", "d"});
  EXPECT_EQ(stop.Push("abcdef"), "ab");  // "cd" and "d" end together: nothing of either is left
  EXPECT_TRUE(stop.stopped());
}

TEST(StopMatcher, WithoutStringsNothingIsHeldBack) {
  StopMatcher stop({});
  EXPECT_EQ(stop.Push("text"), "text");
  EXPECT_EQ(stop.Finish(), "");
}

TEST(StopMatcher, RefusesStringsThatCannotBeMeant) {
  EXPECT_ERROR("not empty", StopMatcher({"a", ""}));
  EXPECT_ERROR("UTF-8", StopMatcher({"\x80"}));
}

// The plain way: looks through the whole text after each byte.
std::string Expected(const std::string& text, const Strings& strings, bool* stopped) {
  for (size_t end = 1; end <= text.size(); ++end) {
    size_t match = 0;
    for (const std::string& s : strings) {
      if (std::string_view(text).substr(0, end).ends_with(s)) match = std::max(match, s.size());
    }
    if (match > 0) {
      *stopped = true;
      return text.substr(0, end - match);
    }
  }
  *stopped = false;
  return text;
}

// Of few letters, so that there are many beginnings; one of them has three bytes.
TEST(StopMatcher, GivesTheSameForAnyPieces) {
  std::mt19937 random(3);
  const Strings letters = {"a", "b", "\xe2\x82\xac"};
  const auto word = [&](size_t most) {
    std::string result;
    for (size_t i = 1 + random() % most; i > 0; --i) result += letters[random() % 3];
    return result;
  };
  int stops = 0;
  for (int i = 0; i < 3000; ++i) {
    Strings strings;
    for (size_t n = 1 + random() % 3; n > 0; --n) strings.push_back(word(8));
    StopMatcher stop(strings);
    std::string text, released;
    for (int piece = 0; piece < 6; ++piece) {
      const std::string next = word(4);
      text += next;
      const std::string out = stop.Push(next);
      EXPECT_EQ(ReplaceIllFormedUtf8(out), out);
      released += out;
      // All that no stop string may begin with is there at once.
      if (!stop.stopped()) {
        const std::string held = text.substr(released.size());
        EXPECT_TRUE(held.empty() || std::ranges::any_of(strings, [&](const std::string& s) {
                      return s.starts_with(held);
                    }));
      }
    }
    released += stop.Finish();
    bool stopped;
    EXPECT_EQ(released, Expected(text, strings, &stopped));
    EXPECT_EQ(stop.stopped(), stopped);
    stops += stopped;
  }
  EXPECT_GT(stops, 300);
  EXPECT_LT(stops, 2700);
}

}  // namespace
}  // namespace fptq
