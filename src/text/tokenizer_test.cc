#include "text/tokenizer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <string>

#include "base/error.h"
#include "base/test_paths.h"
#include "base/test_util.h"
#include "base/utf8.h"
#include "files/json_file.h"
#include "files/mapped_file.h"

namespace fptq {
namespace {

using std::string_literals::operator""s;

constexpr Tokenizer::EncodeOptions kPlain{.parse_special = true, .add_prefix = false};

std::string ReadText(const std::filesystem::path& path) {
  const MappedFile file(path);
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

std::filesystem::path Folder(const std::string& style) {
  return std::filesystem::path(kTestdata) / "tokenizer" / style;
}

Tokenizer Load(const std::string& style) { return Tokenizer(LoadTokenizerFiles(Folder(style))); }

// The part of the stress text that the ids of a style are of.
std::string StressText(const Json& golden) {
  const std::string text = ReadText(Folder("stress.txt"));
  size_t characters = golden.value("characters", text.size());
  size_t end = 0;
  while (end < text.size() && characters-- > 0) {
    end += static_cast<size_t>(Utf8CharLength(std::string_view(text).substr(end)));
  }
  return text.substr(0, end);
}

// Goldens by the `tokenizers` package and, for "sentencepiece", by LlamaTokenizer of transformers:
// scripts/golden/tokenizer_goldens.py, sentencepiece_goldens.py.
class TokenizerStyleTest : public testing::TestWithParam<const char*> {};

TEST_P(TokenizerStyleTest, GivesTheReferenceIds) {
  const Tokenizer tokenizer = Load(GetParam());
  const Json golden = ReadJsonFile(Folder(GetParam()) / "ids.json");
  const std::string text = StressText(golden);
  const auto ids = golden["ids"].get<std::vector<int32_t>>();
  EXPECT_EQ(tokenizer.Encode(text, {}), ids);
  EXPECT_EQ(tokenizer.Encode(text, {.parse_special = false, .add_prefix = false}),
            golden["ids_special_as_text"].get<std::vector<int32_t>>());
  EXPECT_EQ(tokenizer.Decode(std::span(ids).first(2000), /*skip_special=*/true),
            golden["decoded_skipping_special"].get<std::string>());
}

// Passages change nothing but which tokens are recognized: as text of users, the special ones are
// not; where they cut the text does not matter.
TEST_P(TokenizerStyleTest, GuardsPassages) {
  const Tokenizer tokenizer = Load(GetParam());
  const Json golden = ReadJsonFile(Folder(GetParam()) / "ids.json");
  const std::string text = StressText(golden);
  const auto encode = [&](std::vector<Passage> passages) {
    return tokenizer.Encode(text,
                            {.parse_special = true, .add_prefix = false, .passages = passages});
  };
  const auto as_text = golden["ids_special_as_text"].get<std::vector<int32_t>>();
  std::vector<Passage> templates, users;
  for (size_t end = 0; end < text.size();) {
    end += static_cast<size_t>(Utf8CharLength(std::string_view(text).substr(end)));
    if (end % 7 == 0 || end == text.size()) {
      templates.push_back({end, Origin::kTemplate});
      users.push_back({end, end % 2 == 0 ? Origin::kUser : Origin::kModel});
    }
  }
  EXPECT_EQ(encode(templates), tokenizer.Encode(text, kPlain));
  EXPECT_EQ(encode(users), as_text);
  EXPECT_EQ(encode({{text.size(), Origin::kUser}}), as_text);
}

INSTANTIATE_TEST_SUITE_P(Styles, TokenizerStyleTest,
                         testing::Values("gpt2", "smollm", "qwen2", "llama3", "bloom", "llama2",
                                         "gemma", "sentencepiece", "unigram", "unigram_bytes"));

// As the library and as transformers have it.
TEST(SentencePieceTest, GivesTheIdsOfTheLibrary) {
  const TempFolder folder;
  folder.Write("tokenizer.model", ReadText(Folder("sentencepiece") / "tokenizer.model"));
  const Tokenizer tokenizer(LoadTokenizerFiles(folder.path()));
  const Json golden = ReadJsonFile(Folder("sentencepiece") / "ids.json");
  EXPECT_EQ(tokenizer.Encode(StressText(golden), {.parse_special = false, .add_prefix = false}),
            golden["library_ids"].get<std::vector<int32_t>>());
  // A text that starts with a space gets no other one, but for "legacy".
  const auto pieces = [](const Tokenizer& t) {
    std::string text;
    for (const int32_t id : t.Encode(" a", kPlain)) text += t.TokenBytes(id);
    return text;
  };
  EXPECT_EQ(pieces(tokenizer), " a");
  folder.Write("tokenizer_config.json", R"({"legacy": true})");
  EXPECT_EQ(pieces(Tokenizer(LoadTokenizerFiles(folder.path()))), "  a");
}

TEST(SentencePieceTest, UnigramGivesTheIdsOfTransformers) {
  const Tokenizer tokenizer = Load("unigram_model");
  const Json golden = ReadJsonFile(Folder("unigram_model") / "ids.json");
  for (size_t i = 0; i < golden["lines"].size(); ++i) {
    const auto line = golden["lines"][i].get<std::string>();
    EXPECT_EQ(tokenizer.Encode(line, kPlain), golden["ids"][i].get<std::vector<int32_t>>()) << line;
  }
}

// A model with the tokens a, b, ab, <unk> and <s>, which is special.
TokenizerFiles UnigramFiles(std::string_view more = "") {
  TokenizerFiles files;
  files.where = "DIR";
  files.tokenizer_config = Json::object();
  files.tokenizer = ParseJson(fmt::format(R"({{
    "added_tokens": [{{"id": 4, "content": "<s>", "special": true}}],
    "decoder": {{"type": "Metaspace", "replacement": "_", "prepend_scheme": "always"}},
    "model": {{"type": "Unigram", {}
               "vocab": [["a", -1], ["b", -1.5], ["ab", -2], ["<unk>", 0], ["<s>", 0],
                         ["_", -3]]}}}})",
                                          more),
                              "test");
  return files;
}

TEST(UnigramTest, TakesTheBestPathAndFusesUnknowns) {
  const Tokenizer tokenizer(UnigramFiles(R"("unk_id": 3,)"));
  const auto encode = [&](std::string_view text) {
    return tokenizer.Encode(text, {.parse_special = false});
  };
  EXPECT_EQ(encode("ab"), std::vector<int32_t>{2});
  EXPECT_EQ(encode("ba"), (std::vector<int32_t>{1, 0}));
  EXPECT_EQ(encode("axyzb"), (std::vector<int32_t>{0, 3, 1}));
  EXPECT_EQ(encode(""), std::vector<int32_t>{});
  // Nobody writes a special token as text, though the model has it.
  EXPECT_EQ(encode("a<s>b"), (std::vector<int32_t>{0, 3, 1}));
  EXPECT_EQ(tokenizer.Encode("a<s>b", {}), (std::vector<int32_t>{0, 4, 1}));
}

TEST(UnigramTest, WhatNoTokenHoldsIsBytesOrAnError) {
  EXPECT_ERROR("no token stands for 'x'", Tokenizer(UnigramFiles()).Encode("ax", {}));
  // Byte tokens that are not there: the unknown token.
  const Tokenizer tokenizer(UnigramFiles(R"("unk_id": 3, "byte_fallback": true,)"));
  EXPECT_EQ(tokenizer.Encode("axb", {}), (std::vector<int32_t>{0, 3, 1}));
  EXPECT_ERROR("'unk_id': expected an integer from 0 to 5",
               Tokenizer(UnigramFiles(R"("unk_id": 6,)")));
}

TEST(UnigramTest, MalformedVocabularies) {
  TokenizerFiles files = UnigramFiles();
  Json& vocab = files.tokenizer["model"]["vocab"];
  vocab[1] = Json::array({"a", 0});
  EXPECT_ERROR("tokens 0 and 1 are both 'a'", Tokenizer{files});
  vocab[1] = Json::array({"b"});
  EXPECT_ERROR("token 1: expected [token, score], found [\"b\"]", Tokenizer{files});
}

TEST(UnigramTest, MetaspaceStripsAllSpacesOfTheFirstToken) {
  const Tokenizer tokenizer(UnigramFiles(R"("unk_id": 3,)"));
  const std::vector<int32_t> ids = {5, 0, 5, 1};
  EXPECT_EQ(tokenizer.Decode(ids, false), "a b");
  TokenStream stream(tokenizer);
  std::string text;
  for (const int32_t id : ids) text += stream.Push(id);
  EXPECT_EQ(text + stream.Finish(), "a b");
}

TEST(SentencePieceTest, TheFirstSpaceIsStripped) {
  const Tokenizer tokenizer = Load("llama2");
  const std::vector<int32_t> ids = tokenizer.Encode("a b", kPlain);
  EXPECT_EQ(tokenizer.TokenBytes(ids[0]), " a");
  EXPECT_EQ(tokenizer.Decode(ids, false), "a b");
  EXPECT_EQ(tokenizer.Decode(tokenizer.Encode("  a", kPlain), false), "  a");
  EXPECT_EQ(tokenizer.Decode(tokenizer.Encode("a", {}), false), "<s> a");
  EXPECT_EQ(tokenizer.Decode(tokenizer.Encode("a", {}), true), "a");
  EXPECT_EQ(Load("gemma").Decode(Load("gemma").Encode(" a", kPlain), false), " a");
}

TEST(SentencePieceTest, BytesThatNoTokenHas) {
  const Tokenizer tokenizer = Load("llama2");
  const std::vector<int32_t> ids = tokenizer.Encode("\xf0\x9f\xab\xa8", kPlain);  // U+1FAE8
  ASSERT_EQ(ids.size(), 5u);  // the space before a text, and four bytes
  EXPECT_EQ(tokenizer.TokenBytes(ids[1]), "\xf0");
  EXPECT_EQ(tokenizer.Decode(ids, false), "\xf0\x9f\xab\xa8");
  // As the `tokenizers` package has it: a run that is ill-formed is one U+FFFD a byte.
  EXPECT_EQ(tokenizer.Decode(std::span(ids).subspan(1, 3), false),
            "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
}

TEST(TokenStreamTest, GivesWhatDecodeGivesInWholeCharacters) {
  for (const char* style :
       {"llama2", "gemma", "sentencepiece", "qwen2", "unigram", "unigram_bytes"}) {
    const Tokenizer tokenizer = Load(style);
    const std::vector<int32_t> ids = tokenizer.Encode(
        StressText(ReadJsonFile(Folder(style) / "ids.json")), {.parse_special = false});
    TokenStream stream(tokenizer);
    std::string text;
    for (const int32_t id : ids) {
      const std::string piece = stream.Push(id);
      EXPECT_EQ(ReplaceIllFormedUtf8(piece), piece);
      text += piece;
    }
    text += stream.Finish();
    EXPECT_EQ(text, tokenizer.Decode(ids, /*skip_special=*/true)) << style;
  }
}

TEST(TokenizerTest, DecodingGivesTheTextBack) {
  const Tokenizer tokenizer = Load("smollm");
  // Added tokens that strip white space around them (as <mask> does) lose it by design.
  std::string text =
      "a\0b\xc3\xa9 \xf0\x9f\x91\xa8\xe2\x80\x8d\xf0\x9f\x91\xa9 12345\r\n\t x<|im_end|> "s;
  for (int codepoint = 0; codepoint < 0x800; ++codepoint) {
    if (codepoint < 0x80) {
      text += static_cast<char>(codepoint);
    } else {
      text += static_cast<char>(0xc0 | (codepoint >> 6));
      text += static_cast<char>(0x80 | (codepoint & 0x3f));
    }
  }
  EXPECT_EQ(tokenizer.Decode(tokenizer.Encode(text, kPlain), /*skip_special=*/false), text);
}

TEST(TokenizerTest, EmptyText) {
  EXPECT_TRUE(Load("smollm").Encode("", {}).empty());
  EXPECT_EQ(Load("llama3").Encode("", {}), std::vector<int32_t>{0});  // BOS
  EXPECT_EQ(Load("smollm").Decode({}, false), "");
}

TEST(TokenizerTest, IllFormedBytesAreReadAsReplacementCharacters) {
  const Tokenizer tokenizer = Load("gpt2");
  EXPECT_EQ(tokenizer.Encode("a\xff"
                             "b\xe2\x82",
                             {}),
            tokenizer.Encode("a\xef\xbf\xbd"
                             "b\xef\xbf\xbd",
                             {}));
}

TEST(TokenizerTest, ByteTokensDecodeToWellFormedText) {
  const Tokenizer tokenizer = Load("gpt2");
  const int32_t lead = tokenizer.TokenToId("\xc3\x83").value();  // byte C3
  EXPECT_EQ(tokenizer.TokenBytes(lead), "\xc3");
  EXPECT_EQ(tokenizer.Decode(std::vector{lead}, false), "\xef\xbf\xbd");
  const int32_t trail = tokenizer.TokenToId("\xc2\xa9").value();  // byte A9
  EXPECT_EQ(tokenizer.Decode(std::vector{lead, trail}, false), "\xc3\xa9");
}

TEST(TokenizerTest, SpecialTokens) {
  const Tokenizer tokenizer = Load("qwen2");
  const int32_t end = tokenizer.TokenToId("<|im_end|>").value();
  EXPECT_TRUE(tokenizer.IsSpecial(end));
  EXPECT_FALSE(tokenizer.IsSpecial(tokenizer.TokenToId("<tool>").value()));
  EXPECT_FALSE(tokenizer.IsSpecial(-1));
  EXPECT_EQ(tokenizer.TokenBytes(end), "<|im_end|>");
  EXPECT_EQ(tokenizer.Encode("<|im_end|>", {}), std::vector{end});
  EXPECT_GT(tokenizer.Encode("<|im_end|>", {.parse_special = false}).size(), 1u);
  EXPECT_EQ(tokenizer.Decode(std::vector{end}, /*skip_special=*/true), "");
}

// A tokenizer.json with a hole at id 4, from the tokens a, b, ab (0, 1, 2) and <s> (3), x (5).
TokenizerFiles SmallTokenizer() {
  TokenizerFiles files;
  files.where = "DIR";
  files.tokenizer_config = Json::object();
  files.tokenizer = ParseJson(R"({
    "added_tokens": [{"id": 3, "content": "<s>", "special": true}],
    "normalizer": null,
    "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": "x"}, "behavior": "Isolated"},
        {"type": "ByteLevel", "add_prefix_space": false}]},
    "post_processor": {"type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "<s>"}}, {"Sequence": {"id": "A"}}],
        "special_tokens": {"<s>": {"ids": [3]}}},
    "decoder": {"type": "ByteLevel"},
    "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2, "x": 5}, "merges": ["a b"]}})",
                              "test");
  return files;
}

TEST(TokenizerTest, IdsAreThoseThatStandForATokenOfTheModel) {
  const auto ids = [](const Tokenizer& tokenizer) {
    return std::vector<int32_t>(tokenizer.ids().begin(), tokenizer.ids().end());
  };
  const Tokenizer all(SmallTokenizer());
  EXPECT_EQ(ids(all), (std::vector<int32_t>{0, 1, 2, 3, 5}));
  const Tokenizer tokenizer(SmallTokenizer(), /*vocab=*/5);
  EXPECT_EQ(ids(tokenizer), (std::vector<int32_t>{0, 1, 2, 3}));
  EXPECT_TRUE(tokenizer.Contains(3));
  for (const int32_t id : {-1, 4, 5, 6, INT32_MIN, INT32_MAX}) {
    EXPECT_FALSE(tokenizer.Contains(id)) << id;
  }
  // Whatever a model's head has rows for, text comes out of it.
  for (const int32_t id : {-1, 4, 6, INT32_MAX}) {
    EXPECT_EQ(tokenizer.TokenBytes(id), "") << id;
    EXPECT_FALSE(tokenizer.IsSpecial(id)) << id;
    EXPECT_EQ(tokenizer.Decode(std::vector<int32_t>{0, id, 1}, /*skip_special=*/false), "ab") << id;
  }
}

TEST(TokenizerTest, TokensBeyondTheEmbeddingAreErrorsWhereTheyAreNeeded) {
  const Tokenizer tokenizer(SmallTokenizer(), /*vocab=*/5);
  EXPECT_EQ(tokenizer.Encode("ab", kPlain), std::vector<int32_t>{2});
  EXPECT_ERROR("the token 'x' with the id 5, beyond the 5 rows", tokenizer.Encode("ax", kPlain));
  EXPECT_ERROR("'<s>' stands before every text: expected an id below 3",
               Tokenizer(SmallTokenizer(), /*vocab=*/3));
  TokenizerFiles files = SmallTokenizer();
  files.tokenizer["post_processor"] = nullptr;
  EXPECT_ERROR("no token has an id below 0", Tokenizer(files, /*vocab=*/0));
  // An added token that stands in the text.
  EXPECT_ERROR("the token '<s>' with the id 3", Tokenizer(files, 3).Encode("a<s>", kPlain));
  EXPECT_NO_THROW(Tokenizer(files, 3).Encode("ab", kPlain));
}

// Tables by id are not much larger than the file.
TEST(TokenizerTest, IdsLieNotFarBeyondTheNumberOfTokens) {
  EXPECT_EQ(TokenIdLimit(SIZE_MAX), kMaxTokenIds);
  const auto load = [](int64_t vocab_id, int64_t added_id) {
    TokenizerFiles files = SmallTokenizer();
    files.tokenizer["model"]["vocab"]["x"] = vocab_id;                                  // one of 4
    files.tokenizer["added_tokens"].push_back({{"content", "<y>"}, {"id", added_id}});  // of 2
    return Tokenizer(files);
  };
  const int64_t in_vocab = 65536 + 4 * 16 - 1, added = 65536 + 6 * 16 - 1;
  EXPECT_TRUE(load(in_vocab, added).Contains(static_cast<int32_t>(added)));
  EXPECT_ERROR("vocab: token 'x': expected an id from 0 to 65599 beside 4 tokens, found 65600",
               load(in_vocab + 1, added));
  EXPECT_ERROR("added token '<y>': expected an id from 0 to 65631 beside 6 tokens, found 65632",
               load(in_vocab, added + 1));
}

// Each step doubles what the one before made: 2^64 bytes in the end.
TEST(TokenizerTest, NormalizersCannotGrowATextWithoutBound) {
  Json steps = Json::array();
  for (int i = 0; i < 64; ++i) {
    steps.push_back({{"type", "Replace"}, {"pattern", {{"String", "a"}}}, {"content", "aa"}});
  }
  TokenizerFiles files = SmallTokenizer();
  files.tokenizer["normalizer"] = {{"type", "Sequence"}, {"normalizers", steps}};
  const Tokenizer tokenizer(files);
  EXPECT_EQ(tokenizer.Encode("b", kPlain), std::vector<int32_t>{1});
  EXPECT_ERROR("normalizer: expected at most", tokenizer.Encode("ba", kPlain));
}

// What each post-processor puts before a text; what it puts behind one is left out.
TEST(TokenizerTest, PrefixIsWhatThePostProcessorPutsBeforeAText) {
  const auto prefix = [](const char* post_processor) {
    TokenizerFiles files = SmallTokenizer();
    files.tokenizer["post_processor"] = ParseJson(post_processor, "test");
    const Tokenizer tokenizer(files);
    std::vector<int32_t> ids(tokenizer.prefix().begin(), tokenizer.prefix().end());
    std::vector<int32_t> with_text = ids;
    with_text.push_back(2);
    EXPECT_EQ(tokenizer.Encode("ab", {}), with_text);
    EXPECT_EQ(tokenizer.Encode("", {}), ids);
    EXPECT_EQ(tokenizer.Encode("ab", kPlain), std::vector<int32_t>{2});
    return ids;
  };
  using Ids = std::vector<int32_t>;
  EXPECT_EQ(prefix("null"), Ids{});
  EXPECT_EQ(prefix(R"({"type": "ByteLevel"})"), Ids{});
  EXPECT_EQ(prefix(R"({"type": "BertProcessing", "cls": ["<s>", 3], "sep": ["b", 1]})"), Ids{3});
  EXPECT_EQ(prefix(R"({"type": "RobertaProcessing", "sep": ["b", 1], "cls": ["<s>", 3],
                       "trim_offsets": true, "add_prefix_space": false})"),
            Ids{3});
  // EOS behind the text, also of a token that is beyond any embedding.
  EXPECT_EQ(prefix(R"({"type": "TemplateProcessing",
                       "single": [{"SpecialToken": {"id": "<s>"}}, {"SpecialToken": {"id": "x"}},
                                  {"Sequence": {"id": "A"}}, {"SpecialToken": {"id": "</s>"}}],
                       "special_tokens": {"<s>": {"ids": [3]}, "x": {"ids": [5, 1]},
                                          "</s>": {"ids": [99]}}})"),
            (Ids{3, 5, 1}));
  // The later goes around the earlier.
  EXPECT_EQ(prefix(R"({"type": "Sequence", "processors": [
                       {"type": "BertProcessing", "cls": ["b", 1], "sep": ["b", 1]},
                       {"type": "ByteLevel"},
                       {"type": "RobertaProcessing", "cls": ["<s>", 3], "sep": ["b", 1]}]})"),
            (Ids{3, 1}));
}

TEST(TokenizerTest, ATextThatBeginsWithThePrefixGetsNoOther) {
  const Tokenizer tokenizer(SmallTokenizer());
  EXPECT_EQ(tokenizer.Encode("<s>ab", {}), (std::vector<int32_t>{3, 2}));
  EXPECT_EQ(tokenizer.Encode("<s><s>ab", {}), (std::vector<int32_t>{3, 3, 2}));
  EXPECT_EQ(tokenizer.Encode("ab<s>", {}), (std::vector<int32_t>{3, 2, 3}));
  EXPECT_EQ(tokenizer.Encode("<s>", {}), std::vector<int32_t>{3});
}

// Where tokenizer_config.json's class is one that makes its own post-processor in transformers 4,
// its add_bos_token counts; elsewhere tokenizer.json's does.
TEST(TokenizerTest, AddBosTokenOfTheConfig) {
  const auto prefix = [](const char* config, const char* post_processor = "null") {
    TokenizerFiles files = SmallTokenizer();
    files.tokenizer["post_processor"] = ParseJson(post_processor, "test");
    files.tokenizer_config = ParseJson(config, "test");
    const Tokenizer tokenizer(files);
    return std::vector<int32_t>(tokenizer.prefix().begin(), tokenizer.prefix().end());
  };
  using Ids = std::vector<int32_t>;
  for (const char* name : {"LlamaTokenizer", "LlamaTokenizerFast", "CodeLlamaTokenizerFast",
                           "GemmaTokenizerFast", "CohereTokenizerFast", "GPTNeoXTokenizerFast"}) {
    const auto config = [&](const char* rest) {
      return fmt::format(R"({{"tokenizer_class": "{}"{}}})", name, rest);
    };
    EXPECT_EQ(prefix(config(R"(, "add_bos_token": true, "bos_token": "b")").c_str()), Ids{1});
    EXPECT_EQ(prefix(config(R"(, "add_bos_token": true, "bos_token": {"content": "<s>"},
                               "add_eos_token": true, "eos_token": "b")")
                         .c_str()),
              Ids{3});
    constexpr const char* kTemplate = R"({"type": "BertProcessing", "cls": ["a", 0], "sep": []})";
    EXPECT_EQ(prefix(config(R"(, "add_bos_token": false, "bos_token": "b")").c_str(), kTemplate),
              Ids{});
    EXPECT_EQ(prefix(config(R"(, "bos_token": "b")").c_str(), kTemplate), Ids{0});
    EXPECT_ERROR("add_bos_token: '<bos>' is not in the vocabulary",
                 prefix(config(R"(, "add_bos_token": true, "bos_token": "<bos>")").c_str()));
  }
  EXPECT_EQ(prefix(R"({"tokenizer_class": "LlamaTokenizer", "add_bos_token": true})"), Ids{3});
  for (const char* name : {"PreTrainedTokenizerFast", "Qwen2Tokenizer", "GPT2TokenizerFast"}) {
    EXPECT_EQ(prefix(fmt::format(R"({{"tokenizer_class": "{}", "add_bos_token": true,
                                      "bos_token": "b"}})",
                                 name)
                         .c_str()),
              Ids{})
        << name;
  }
  EXPECT_EQ(prefix(R"({"add_bos_token": true, "bos_token": "b"})"), Ids{});
}

// Quadratic algorithms take hours here; ours takes a fraction of a second, 10 s allow for
// sanitizers.
TEST(TokenizerTest, LongRunsTakeTimeLinearInTheirLength) {
  constexpr size_t kBytes = 1 << 20;
  std::string marks;
  while (marks.size() < kBytes) marks += "\xcc\x81\xcc\xa7";  // acute above, cedilla below
  for (const char* style : {"gpt2", "qwen2", "llama2"}) {
    const Tokenizer tokenizer = Load(style);
    for (const std::string& text : {std::string(kBytes, 'a'), std::string(kBytes, ' ') + "x",
                                    std::string(kBytes, '\n'), std::string(kBytes, '7'), marks}) {
      const auto start = std::chrono::steady_clock::now();
      const std::vector<int32_t> ids = tokenizer.Encode(text, kPlain);
      const auto end = std::chrono::steady_clock::now();
      EXPECT_LT(end - start, std::chrono::seconds(10)) << style;
      EXPECT_FALSE(ids.empty()) << style;
    }
  }
}

// Bad input: each change of a good file, and what the message must name.
struct BadFile {
  const char* name;
  const char* pointer;  // JSON pointer of the value that is replaced
  const char* value;
  const char* message;
};
std::ostream& operator<<(std::ostream& out, const BadFile& bad) { return out << bad.name; }

class BadTokenizerTest : public testing::TestWithParam<BadFile> {};

TEST_P(BadTokenizerTest, IsAnErrorThatNamesIt) {
  TokenizerFiles files = SmallTokenizer();
  ASSERT_NO_THROW(Tokenizer{files});
  const BadFile& bad = GetParam();
  files.tokenizer[Json::json_pointer(bad.pointer)] = ParseJson(bad.value, "test");
  try {
    const Tokenizer tokenizer(files);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find(bad.message), std::string::npos) << error.what();
    EXPECT_EQ(std::string(error.what()).find("DIR: tokenizer.json"), 0u) << error.what();
  }
}

INSTANTIATE_TEST_SUITE_P(
    Files, BadTokenizerTest,
    testing::Values(
        BadFile{"Type", "/model/type", R"("Unigram")", "Unigram"},
        BadFile{"ByteFallback", "/model/byte_fallback", "true", "byte_fallback"},
        BadFile{"Pattern", "/normalizer", R"({"type": "Replace", "content": "x"})", "pattern"},
        BadFile{"Suffix", "/model/end_of_word_suffix", R"("</w>")", "end_of_word_suffix"},
        BadFile{"MergeOfAbsentToken", "/model/merges/0", R"("c a")", "'c' is not in vocab"},
        BadFile{"MergeIntoAbsentToken", "/model/merges/0", R"(["b", "a"])", "'ba' is not in vocab"},
        BadFile{"MergeOfOne", "/model/merges/0", R"("ab")", "expected a merge"},
        BadFile{"MergeOfThree", "/model/merges/0", R"("a b ab")", "expected a merge"},
        BadFile{"MergeOfNumbers", "/model/merges/0", "[1, 2]", "expected a merge"},
        BadFile{"DuplicateId", "/model/vocab/b", "0", "same id 0"},
        BadFile{"NegativeId", "/model/vocab/b", "-1", "'b'"},
        BadFile{"HugeId", "/model/vocab/b", "18446744073709551615", "'b'"},
        BadFile{"LargeId", "/model/vocab/b", "2000000000", "'b'"},
        BadFile{"FractionalId", "/model/vocab/b", "1.5", "'b'"},
        BadFile{"NoVocab", "/model/vocab", "null", "vocab"},
        BadFile{"AbsentUnknown", "/model/unk_token", R"("<unk>")", "<unk>"},
        BadFile{"AddedIdTaken", "/added_tokens/0/id", "2", "is that of 'ab'"},
        BadFile{"AddedIdDiffers", "/added_tokens/0/content", R"("a")", "differs from the 0"},
        BadFile{"AddedIdHuge", "/added_tokens/0/id", "4000000000", "id"},
        BadFile{"AddedEmpty", "/added_tokens/0/content", R"("")", "content"},
        BadFile{"AddedTwice", "/added_tokens/1", R"({"id": 3, "content": "<s>"})", "twice"},
        BadFile{"Normalizer", "/normalizer", R"({"type": "Lowercase"})", "Lowercase"},
        BadFile{"PreTokenizer", "/pre_tokenizer", R"({"type": "Whitespace"})", "Whitespace"},
        BadFile{"Scheme", "/pre_tokenizer",
                R"({"type": "Metaspace", "replacement": "_", "prepend_scheme": "odd"})", "'odd'"},
        BadFile{"Metaspace", "/pre_tokenizer", R"({"type": "Metaspace", "replacement": "  "})",
                "one character"},
        BadFile{"NoPreTokenizer", "/pre_tokenizer", "null", "pre_tokenizer"},
        BadFile{"NoByteLevel", "/pre_tokenizer", R"({"type": "Digits"})", "ByteLevel"},
        BadFile{"BadRegex", "/pre_tokenizer/pretokenizers/0/pattern/Regex", R"("(")", "'('"},
        BadFile{"UnknownEscape", "/pre_tokenizer/pretokenizers/0/pattern/Regex", R"("\\h")", "\\h"},
        BadFile{"Behavior", "/pre_tokenizer/pretokenizers/0/behavior", R"("Odd")", "Odd"},
        BadFile{"Decoder", "/decoder", R"({"type": "WordPiece"})", "WordPiece"},
        BadFile{"DecoderWithoutBytes", "/decoder", R"({"type": "Sequence", "decoders": []})",
                "ByteLevel in both"},
        BadFile{"DecoderOrder", "/decoder",
                R"({"type": "Sequence", "decoders": [{"type": "Fuse"}, {"type": "ByteFallback"}]})",
                "'ByteFallback' is not supported there"},
        BadFile{"PostProcessor", "/post_processor/type", R"("Other")", "'Other'"},
        BadFile{"Cls", "/post_processor", R"({"type": "BertProcessing", "cls": ["<s>"]})", "cls"},
        BadFile{"ClsId", "/post_processor", R"({"type": "BertProcessing", "cls": ["<s>", "3"]})",
                "cls"},
        BadFile{"TemplateId", "/post_processor/special_tokens/<s>/ids/0", "9", "id 9"},
        BadFile{"TemplateWithoutText", "/post_processor/single/1",
                R"({"SpecialToken": {"id": "<s>"}})", "0 times"}),
    [](const auto& test) { return test.param.name; });

// FPTQ_TOKENIZER_PARITY=DIR, made by scripts/golden/tokenizer_parity.py: DIR/texts/TEXT, and
// DIR/NAME with tokenizer.json and TEXT.ids (int32) for each tokenizer NAME.
TEST(TokenizerParityTest, EqualsTheTokenizersPackage) {
  const char* directory = std::getenv("FPTQ_TOKENIZER_PARITY");
  if (directory == nullptr) GTEST_SKIP() << "FPTQ_TOKENIZER_PARITY is not set";
  for (const auto& folder : std::filesystem::directory_iterator(directory)) {
    if (!std::filesystem::exists(folder.path() / "tokenizer.json")) continue;
    const Tokenizer tokenizer(LoadTokenizerFiles(folder.path()));
    size_t bytes = 0, tokens = 0, mismatches = 0;
    std::chrono::duration<double> time{};
    for (const auto& file :
         std::filesystem::directory_iterator(std::filesystem::path(directory) / "texts")) {
      const std::string name = file.path().filename().string();
      const std::string text = ReadText(file.path());
      const std::string raw = ReadText(folder.path() / (name + ".ids"));
      std::vector<int32_t> expected(raw.size() / sizeof(int32_t));
      std::memcpy(expected.data(), raw.data(), raw.size());
      const auto start = std::chrono::steady_clock::now();
      const std::vector<int32_t> ids = tokenizer.Encode(text, {});
      time += std::chrono::steady_clock::now() - start;
      const auto difference =
          std::mismatch(ids.begin(), ids.end(), expected.begin(), expected.end());
      if (difference.first != ids.end() || difference.second != expected.end()) {
        ++mismatches;
        const auto at = static_cast<size_t>(difference.first - ids.begin());
        ADD_FAILURE() << folder.path() << " " << name << ": ids differ from index " << at
                      << " on, after: "
                      << tokenizer.Decode(std::span(ids).subspan(at > 20 ? at - 20 : 0).first(20),
                                          false);
      }
      bytes += text.size();
      tokens += ids.size();
    }
    const double megabytes = static_cast<double>(bytes) / 1e6;
    fmt::print("{}: {:.2f} MB, {} tokens, {} texts differ, {:.1f} MB/s\n",
               folder.path().filename().string(), megabytes, tokens, mismatches,
               megabytes / time.count());
  }
}

}  // namespace
}  // namespace fptq
