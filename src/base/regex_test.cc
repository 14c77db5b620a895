#include "base/regex.h"

#include <gtest/gtest.h>

#include <chrono>
#include <utility>
#include <vector>

#include "base/test_util.h"

namespace fptq {
namespace {

Regex Python(std::string_view pattern) { return {pattern, "test", RegexSyntax::kPython}; }
Regex Oniguruma(std::string_view pattern) { return {pattern, "test", RegexSyntax::kOniguruma}; }

std::vector<std::string_view> FindAll(const Regex& regex, std::string_view text) {
  std::vector<std::string_view> found;
  regex.FindAll(
      text, [&](size_t begin, size_t end) { found.push_back(text.substr(begin, end - begin)); });
  return found;
}

// What re.match and re.fullmatch of Python 3.11 find.
TEST(Regex, MatchesAsPythonDoes) {
  struct Case {
    std::string_view pattern, text;
    bool begin, whole;
  };
  for (const Case& c : std::initializer_list<Case>{
           {"a", "ab", true, false},
           {R"(.*\.down_proj)", "model.layers.3.mlp.down_proj", true, true},
           {"down_proj", "model.layers.3.mlp.down_proj", false, false},
           {R"(model\.layers\.(0|1)\..*)", "model.layers.10.x", false, false},
           {R"(model\.layers\.(0|1)\..*)", "model.layers.1.x", true, true},
           {"(?!lm_head).*", "lm_head", false, false},
           {"(?!lm_head).*", "model", true, true},
           {R"(a\Z)", "a", true, true},
           {R"(a\Z)", "a\n", false, false},
           {"a$", "a\n", true, false},
           {"^x", "x", true, true},
           {"a|ab", "ab", true, true},
           {"(?:a|ab)c", "abc", true, true},
           {"", "x", true, false},
           {".", "\n", false, false},
           {R"(\.)", "x", false, false},
           {"[[:alpha:]]", "a]", true, true},  // no class of POSIX
           {"[[:alpha:]]", "z", false, false},
           {"[a-c[]+", "a[c", true, true},
           {"[]a]+", "]a]", true, true},
           {"[^]]", "]", false, false},
           {R"([\]\-a])", "-", true, true},
           {R"([\b])", "\b", true, true},
           {"a{,2}b", "aab", true, true},
           {"a{,2}b", "a{,2}b", false, false},
           {"a{,}b", "aaab", true, true},
           {"a{x}", "a{x}", true, true},
           {R"(\v)", "\x0b", true, true},
           {R"(\v)", "\n", false, false},
           {R"(\x41)", "A", true, true},
           {"(?P<x>a|b)(?P=x)", "aa", true, true},
           {"(?P<x>a|b)(?P=x)", "ab", false, false},
           {R"((a)|b\1)", "b", false, false},
           {"(?<=x)a", "a", false, false},
           {"(?i)LAYERS", "layers", true, true},
           {"a*?b", "aab", true, true},
           {R"(\d+)", "\u0663", true, true},
           {R"(\w+$)", "gr\u00f6\u00dfe", true, true},
           {"\u00e9", "\u00e9", true, true},
       }) {
    SCOPED_TRACE(fmt::format("'{}' on '{}'", c.pattern, c.text));
    EXPECT_EQ(Python(c.pattern).MatchesBegin(c.text), c.begin);
    EXPECT_EQ(Python(c.pattern).MatchesWhole(c.text), c.whole);
  }
}

TEST(Regex, RefusesWhatMeansSomethingElse) {
  for (const char* pattern : {R"(\Qa\E)", R"(\N)", R"(\h)", R"(\p{L})", "(*UCP)a", R"(\07)"}) {
    EXPECT_ERROR("is not supported", Python(pattern));
  }
  for (const char* pattern : {R"(\h)", R"(\w)", "[a&&b]", "[a[^b]]", "a{2}+"}) {
    EXPECT_ERROR("is not supported", Oniguruma(pattern));
  }
}

TEST(Regex, RefusesWhatIsMalformedOrLarge) {
  const auto repeat = [](std::string text, int count) {
    std::string out;
    for (int i = 0; i < count; ++i) out += text;
    return out;
  };
  std::string nested = "a";
  for (int i = 0; i < 6; ++i) nested = "(" + nested + "){1,255}";
  const std::pair<std::string, const char*> cases[] = {
      {"(", "test: regular expression '('"},
      {"a**", "at byte"},
      {"[", "at byte"},
      {"\\", "at byte"},
      {"\xff", "UTF-8 error"},
      {nested, "too large"},
      {repeat("(", 1000) + repeat(")", 1000), "nest"},
      {std::string(Regex::kMaxPatternBytes + 1, 'a'), "expected at most 16384 bytes"}};
  for (const auto& [pattern, part] : cases) {
    EXPECT_ERROR(part, Python(pattern));
    EXPECT_ERROR(part, Oniguruma(pattern));
  }
}

// Without bounds each of them takes years.
TEST(Regex, GivesUpWhereItBacktracksTooMuch) {
  const std::string name = std::string(60, 'a') + "!";
  for (const char* pattern :
       {"(a+)+$", "((a|a)*)*$", "((a|b|[^x])+)+y?$.", "(?:a|aa)+[^a!]", "(.*)*[^a!]"}) {
    SCOPED_TRACE(pattern);
    EXPECT_ERROR("limit exceeded", Python(pattern).MatchesBegin(name));
    EXPECT_ERROR("limit exceeded", Python(pattern).MatchesWhole(name));
    EXPECT_ERROR("limit exceeded", FindAll(Oniguruma(pattern), name));
  }
}

TEST(Regex, FindsAll) {
  EXPECT_EQ(FindAll(Oniguruma(R"(\p{N}+|\s)"), "a12 b3"),
            (std::vector<std::string_view>{"12", " ", "3"}));
  EXPECT_EQ(FindAll(Oniguruma("b*"), "abb"), (std::vector<std::string_view>{"", "bb"}));
  EXPECT_EQ(FindAll(Oniguruma("^."), "ab\nc"), (std::vector<std::string_view>{"a", "c"}));
  // Matches far apart, within characters of several bytes.
  std::string text;
  for (int i = 0; i < 10'000; ++i) text += i == 700 ? "7\u20ac" : "\u20ac";
  text += "8";
  EXPECT_EQ(FindAll(Oniguruma(R"(\p{N})"), text), (std::vector<std::string_view>{"7", "8"}));
  EXPECT_EQ(FindAll(Oniguruma("\u20ac"), text).size(), 10'000u);
}

// Each place of the text costs little, or all that follows: the search must neither give up on the
// first nor run on with the second.
TEST(Regex, FindAllIsLinearOrGivesUp) {
  constexpr size_t kLong = 1'000'000;
  const Regex words = Oniguruma(R"(\s*[\r\n]+|\s+(?!\S)|\s+|\S+)");
  EXPECT_EQ(FindAll(words, std::string(kLong, ' ') + "a").size(), 3u);
  EXPECT_EQ(FindAll(words, std::string(kLong, 'a')).size(), 1u);
  std::string runs;
  while (runs.size() < kLong) runs.append(3'000, ' ').append("a");
  EXPECT_EQ(FindAll(words, runs).size(), 3 * runs.size() / 3'001);
  EXPECT_EQ(FindAll(Oniguruma(R"(\p{N}+)"), runs).size(), 0u);

  std::string letters;
  while (letters.size() < kLong / 10) letters += "ab";
  const auto start = std::chrono::steady_clock::now();
  EXPECT_ERROR("limit exceeded", FindAll(Oniguruma("(?:a|b)*?[^abd]"), letters));
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::minutes(1));
}

TEST(Regex, EscapedTextMatchesItself) {
  const std::string text = "a.b*c\\d[e]{2}\u20ac";
  EXPECT_TRUE(Python(Regex::Escape(text)).MatchesWhole(text));
  EXPECT_EQ(FindAll(Oniguruma(Regex::Escape(text)), text).size(), 1u);
}

}  // namespace
}  // namespace fptq
