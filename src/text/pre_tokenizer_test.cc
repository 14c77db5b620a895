#include "text/pre_tokenizer.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/test_util.h"

namespace fptq {
namespace {

using Words = std::vector<std::string>;

Words Split(std::string_view spec, std::string_view text, bool at_start = true) {
  Words words;
  PreTokenizer(ParseJson(spec, "test"), "test").Split(text, at_start, [&](std::string_view word) {
    words.emplace_back(word);
  });
  return words;
}

// A Split alone: the ByteLevel after it cuts nothing.
Words SplitBy(std::string_view pattern, std::string_view behavior, bool invert,
              std::string_view text) {
  const Json pattern_json = ParseJson(pattern, "test");
  const Json spec = {
      {"type", "Sequence"},
      {"pretokenizers",
       {{{"type", "Split"}, {"pattern", pattern_json}, {"behavior", behavior}, {"invert", invert}},
        {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}}}}};
  return Split(spec.dump(), text);
}

// Expected words: pre_tokenize_str of the `tokenizers` package.
TEST(PreTokenizerTest, SplitBehaviors) {
  const Words all = {"-", "a", "-", "-", "b", "-", "c"};
  const Words with_previous = {"-", "a-", "-", "b-", "c"};
  const Words with_next = {"-a", "-", "-b", "-c"};
  const Words contiguous = {"-", "a", "--", "b", "-", "c"};
  const auto split = [](std::string_view behavior, bool invert) {
    return SplitBy(R"({"Regex": "-"})", behavior, invert, "-a--b-c");
  };
  EXPECT_EQ(split("Isolated", false), all);
  EXPECT_EQ(split("Isolated", true), all);
  EXPECT_EQ(split("Removed", false), (Words{"a", "b", "c"}));
  EXPECT_EQ(split("Removed", true), (Words{"-", "-", "-", "-"}));
  EXPECT_EQ(split("MergedWithPrevious", false), with_previous);
  EXPECT_EQ(split("MergedWithPrevious", true), with_next);
  EXPECT_EQ(split("MergedWithNext", false), with_next);
  EXPECT_EQ(split("MergedWithNext", true), with_previous);
  EXPECT_EQ(split("Contiguous", false), contiguous);
  EXPECT_EQ(split("Contiguous", true), contiguous);
}

TEST(PreTokenizerTest, EmptyMatchesCut) {
  EXPECT_EQ(SplitBy(R"re({"Regex": "(?=[A-Z])"})re", "Isolated", false, "aBcDD"),
            (Words{"a", "Bc", "D", "D"}));
}

TEST(PreTokenizerTest, StringPatternsAreTakenLiterally) {
  EXPECT_EQ(SplitBy(R"({"String": ".*"})", "Isolated", false, "a.*b"), (Words{"a", ".*", "b"}));
}

TEST(PreTokenizerTest, WhiteSpaceIsUnicodesAndNotPerls) {
  // NEL is white space; U+180E is not (any more).
  EXPECT_EQ(SplitBy(R"({"Regex": "\\s"})", "Removed", false,
                    "a\xc2\x85"
                    "b\xe1\xa0\x8e"
                    "c"),
            (Words{"a",
                   "b\xe1\xa0\x8e"
                   "c"}));
}

TEST(PreTokenizerTest, DigitsAndPrefixSpace) {
  EXPECT_EQ(
      Split(R"({"type": "Sequence", "pretokenizers": [{"type": "Digits"}, {"type": "ByteLevel"}]})",
            "ab 12c"),
      (Words{" ab", " ", " 12", " c"}));
  EXPECT_EQ(Split(R"({"type": "Sequence", "pretokenizers": [
                      {"type": "Digits", "individual_digits": true}, {"type": "ByteLevel"}]})",
                  "ab 12c"),
            (Words{" ab", " ", " 1", " 2", " c"}));
}

TEST(PreTokenizerTest, AClassWithinAClassAddsToIt) {
  EXPECT_EQ(SplitBy(R"({"Regex": "[^(a[bc])]+"})", "Isolated", false, "x(y[z]b^"),
            (Words{"x", "(", "y[z]", "b", "^"}));
}

TEST(PreTokenizerTest, Metaspace) {
  const auto split = [](std::string_view scheme, bool cut, std::string_view text, bool at_start) {
    const Json spec = {
        {"type", "Metaspace"}, {"replacement", "_"}, {"prepend_scheme", scheme}, {"split", cut}};
    return Split(spec.dump(), text, at_start);
  };
  EXPECT_EQ(split("always", true, "a b  c", true), (Words{"_a", "_b", "_", "_c"}));
  EXPECT_EQ(split("always", false, "a b", false), (Words{"_a_b"}));
  EXPECT_EQ(split("first", false, "a b", true), (Words{"_a_b"}));
  EXPECT_EQ(split("first", false, " a", true), (Words{"_a"}));
  EXPECT_EQ(split("first", false, "a b", false), (Words{"a_b"}));
  EXPECT_EQ(split("never", false, "a b", true), (Words{"a_b"}));
}

TEST(PreTokenizerTest, RefusesWhatOnigurumaReadsOtherwise) {
  for (const char* pattern : {R"("\\h")", R"("\\w")", R"("[a[^bc]]")", R"("[[:alpha:]]")",
                              R"("[a&&b]")", R"("a{2}+")", R"("(")", R"("\\p{Nonsense}")"}) {
    EXPECT_THROW(SplitBy(std::string(R"({"Regex": )") + pattern + "}", "Isolated", false, "a"),
                 Error)
        << pattern;
  }
}

TEST(PreTokenizerTest, HopelessPatternsEndInAnError) {
  EXPECT_THROW(
      SplitBy(R"re({"Regex": "(?:a+)+[bc]"})re", "Isolated", false, std::string(5000, 'a')), Error);
}

TEST(PreTokenizerTest, Punctuation) {
  const auto split = [](std::string_view behavior) {
    const Json spec = {{"type", "Punctuation"}, {"behavior", behavior}};
    return Split(spec.dump(), "a!?b\u2014c$^`");
  };
  EXPECT_EQ(split("Isolated"), (Words{"a", "!", "?", "b", "\u2014", "c", "$", "^", "`"}));
  EXPECT_EQ(split("Contiguous"), (Words{"a", "!?", "b", "\u2014", "c", "$^`"}));
  EXPECT_EQ(split("MergedWithNext"), (Words{"a", "!", "?b", "\u2014c", "$", "^", "`"}));
}

// Falcon's. Some bytes are digits in the byte-level alphabet: those of superscripts and fractions
// are cut in two.
TEST(PreTokenizerTest, SplitsAfterByteLevelSeeItsAlphabet) {
  const auto split = [](std::string_view text) {
    return Split(R"({"type": "Sequence", "pretokenizers": [
                     {"type": "Punctuation", "behavior": "Contiguous"},
                     {"type": "ByteLevel", "add_prefix_space": false},
                     {"type": "Digits", "individual_digits": false},
                     {"type": "Split", "pattern": {"Regex": "[0-9][0-9][0-9]"},
                      "behavior": "Isolated", "invert": false}]})",
                 text);
  };
  EXPECT_EQ(split("pay 12345`+<x"), (Words{"pay", " ", "123", "45", "`+<", "x"}));
  EXPECT_EQ(split("don't 1234\u00b23  ok\u2026"), (Words{"don", "'", "t", " ", "123", "4", "\xc2",
                                                         "\xb2"
                                                         "3",
                                                         " ", " ok", "\u2026"}));
  EXPECT_EQ(split("\u00e9\u00bc 7\u00bd"),
            (Words{"\u00e9", "\xc2", "\xbc", " ", "7", "\xc2", "\xbd"}));
}

TEST(PreTokenizerTest, WhatChangesTextComesBeforeByteLevel) {
  for (const char* type : {"ByteLevel", "Metaspace", "WhitespaceSplit"}) {
    const Json spec = {{"type", "Sequence"},
                       {"pretokenizers", {{{"type", "ByteLevel"}}, {{"type", type}}}}};
    EXPECT_ERROR("after ByteLevel is not supported", Split(spec.dump(), ""));
  }
}

}  // namespace
}  // namespace fptq
