#include <gtest/gtest.h>

#include <fstream>

#include "base/error.h"
#include "base/test_paths.h"
#include "base/test_util.h"
#include "files/json_file.h"
#include "files/mapped_file.h"
#include "text/pre_tokenizer.h"
#include "text/sentencepiece.h"
#include "text/tokenizer.h"

namespace fptq {
namespace {

Json Metadata(const char* pre) {
  Json metadata = {{"general.architecture", "llama"},
                   {"llama.context_length", 2048},
                   {"tokenizer.ggml.model", "gpt2"},
                   {"tokenizer.ggml.pre", pre},
                   {"tokenizer.ggml.tokens", {"<s>", "</s>", "<tool>", "a", "b", "ab", "1"}},
                   {"tokenizer.ggml.token_type", {3, 3, 4, 1, 1, 1, 1}},
                   {"tokenizer.ggml.merges", {"a b"}},
                   {"tokenizer.ggml.bos_token_id", 0},
                   {"tokenizer.ggml.eos_token_id", 1},
                   {"tokenizer.chat_template", "{{ x }}"}};
  metadata["tokenizer.ggml.merges"] = Json::array({"a b"});
  return metadata;
}

using Templates = std::map<std::string, std::string>;

TEST(TokenizerFilesTest, ChatTemplatesOfGguf) {
  Json metadata = Metadata("smollm");
  metadata["tokenizer.chat_templates"] = Json::array({"tool_use"});
  metadata["tokenizer.chat_template.tool_use"] = "{{ y }}";
  const TokenizerFiles files = TokenizerFilesFromGguf(metadata, "m.gguf");
  EXPECT_EQ(files.chat_templates, (Templates{{"default", "{{ x }}"}, {"tool_use", "{{ y }}"}}));
  EXPECT_EQ(files.tokenizer_config["chat_template"],
            Json::parse(R"([{"name": "default", "template": "{{ x }}"},
                            {"name": "tool_use", "template": "{{ y }}"}])"));
}

TEST(TokenizerFilesTest, FromGguf) {
  const TokenizerFiles files = TokenizerFilesFromGguf(Metadata("smollm"), "m.gguf");
  EXPECT_EQ(files.where, "m.gguf");
  EXPECT_EQ(files.chat_templates, (Templates{{"default", "{{ x }}"}}));
  EXPECT_EQ(files.tokenizer_config, (Json{{"bos_token", "<s>"},
                                          {"eos_token", "</s>"},
                                          {"add_bos_token", false},
                                          {"add_eos_token", false},
                                          {"clean_up_tokenization_spaces", false},
                                          {"model_max_length", 2048},
                                          {"tokenizer_class", "PreTrainedTokenizerFast"},
                                          {"chat_template", "{{ x }}"}}));
  const Tokenizer tokenizer(files);
  EXPECT_EQ(tokenizer.ids().size(), 7u);
  EXPECT_EQ(tokenizer.Encode("abb1<tool></s>", {}), (std::vector<int32_t>{5, 4, 6, 2, 1}));
  EXPECT_TRUE(tokenizer.IsSpecial(1));
  EXPECT_FALSE(tokenizer.IsSpecial(2));
}

// What `text` is cut into by the pre-tokenizer of this name.
std::vector<std::string> GgufWords(const char* pre, std::string_view text) {
  const Json made = TokenizerFilesFromGguf(Metadata(pre), "m.gguf").tokenizer["pre_tokenizer"];
  std::vector<std::string> words;
  PreTokenizer(made, "").Split(text, /*at_start=*/true,
                               [&](std::string_view word) { words.emplace_back(word); });
  return words;
}

// The words of llama.cpp, whose tests of its vocabularies these equal token by token.
TEST(TokenizerFilesTest, PreTokenizersOfGgufCutAsTheirModels) {
  using Words = std::vector<std::string>;
  constexpr const char* kText = "I'LL pay 12345 euroS\n\n";
  for (const char* pre : {"llama-bpe", "falcon3", "pixtral", "smaug-bpe", "dbrx", "glm4"}) {
    EXPECT_EQ(GgufWords(pre, kText),
              Words({"I", "'LL", " pay", " ", "123", "45", " euroS", "\n\n"}));
  }
  for (const char* pre : {"qwen2", "stablelm2", "hunyuan", "megrez", "qwen35", "seed-coder"}) {
    EXPECT_EQ(GgufWords(pre, kText),
              Words({"I", "'LL", " pay", " ", "1", "2", "3", "4", "5", " euroS", "\n\n"}));
  }
  EXPECT_EQ(GgufWords("tekken", kText),
            Words({"I", "'LL", " pay", " ", "1", "2", "3", "4", "5", " euro", "S", "\n\n"}));
  EXPECT_EQ(GgufWords("gpt-4o", kText),
            Words({"I'LL", " pay", " ", "123", "45", " euro", "S", "\n\n"}));
  EXPECT_EQ(GgufWords("falcon", "pay 12345`+"), Words({"pay", " ", "123", "45", "`+"}));
  EXPECT_EQ(GgufWords("viking", "pay 12."), Words({"pay", " ", "1", "2", "."}));
  EXPECT_EQ(GgufWords("deepseek-coder", "int a12\n"), Words({"int", " a", "1", "2", "\n"}));
  EXPECT_EQ(GgufWords("deepseek-v3", "pay 12345 元元"),
            Words({"pay", " ", "123", "45", " ", "元元"}));
}

TEST(TokenizerFilesTest, OnlySomePreTokenizersOfGgufAddBos) {
  const auto ids = [](const char* pre) {
    return Tokenizer(TokenizerFilesFromGguf(Metadata(pre), "m.gguf")).Encode("a", {});
  };
  EXPECT_EQ(ids("llama-bpe"), (std::vector<int32_t>{0, 3}));
  EXPECT_EQ(ids("tekken"), (std::vector<int32_t>{0, 3}));
  EXPECT_EQ(ids("smaug-bpe"), (std::vector<int32_t>{3}));
  EXPECT_EQ(ids("gpt-4o"), (std::vector<int32_t>{3}));
}

TEST(TokenizerFilesTest, PreTokenizerOfGgufCanBeNamed) {
  Json metadata = Metadata("qwen2");
  const auto made = [&](std::string_view name) {
    return TokenizerFilesFromGguf(metadata, "m.gguf", name).tokenizer["pre_tokenizer"];
  };
  const Json qwen2 = made("");
  EXPECT_EQ(made("qwen2"), qwen2);
  EXPECT_NE(made("smollm"), qwen2);  // goes before what the file says
  metadata.erase("tokenizer.ggml.pre");
  EXPECT_EQ(made("qwen2"), qwen2);
  EXPECT_ERROR("m.gguf: tokenizer.ggml.pre is missing: --pre-tokenizer must name", made(""));
  EXPECT_ERROR("m.gguf: tokenizer.ggml.pre: 'novel' is not supported; known are default, gpt-2,",
               made("novel"));
}

// Those whose names are in the goldens' styles: the same words as by the styles' own files.
TEST(TokenizerFilesTest, PreTokenizersOfGguf) {
  const std::filesystem::path folder = std::filesystem::path(kTestdata) / "tokenizer";
  const std::string text = ReadFile(folder / "stress.txt");
  const std::pair<const char*, const char*> styles[] = {{"gpt-2", "gpt2"},
                                                        {"smollm", "smollm"},
                                                        {"qwen2", "qwen2"},
                                                        {"llama-bpe", "llama3"},
                                                        {"bloom", "bloom"}};
  for (const auto& [pre, style] : styles) {
    const Json made = TokenizerFilesFromGguf(Metadata(pre), "m.gguf").tokenizer["pre_tokenizer"];
    const Json expected = ReadJsonFile(folder / style / "tokenizer.json")["pre_tokenizer"];
    const auto words = [&](const Json& spec) {
      std::vector<std::string> result;
      PreTokenizer(spec, style).Split(text, /*at_start=*/true, [&](std::string_view word) {
        result.emplace_back(word);
      });
      return result;
    };
    EXPECT_EQ(words(made), words(expected)) << style;
  }
  std::vector<std::string> words;
  PreTokenizer(TokenizerFilesFromGguf(Metadata("default"), "m.gguf").tokenizer["pre_tokenizer"], "")
      .Split("it's $+ 12345 a", true, [&](std::string_view word) { words.emplace_back(word); });
  EXPECT_EQ(words, (std::vector<std::string>{"it", "'", "s", " ", "$+", " ", "123", "45", " a"}));
}

TEST(TokenizerFilesTest, BeginningAndEndOfSequence) {
  const auto encode = [](const Json& metadata) {
    return Tokenizer(TokenizerFilesFromGguf(metadata, "m.gguf")).Encode("a", {});
  };
  Json metadata = Metadata("llama-bpe");
  EXPECT_EQ(encode(metadata), (std::vector<int32_t>{0, 3}));  // by default there
  // EOS behind a text is for other readers: nothing goes on from it.
  metadata["tokenizer.ggml.add_eos_token"] = true;
  EXPECT_EQ(encode(metadata), (std::vector<int32_t>{0, 3}));
  metadata["tokenizer.ggml.add_bos_token"] = false;
  EXPECT_EQ(encode(metadata), std::vector<int32_t>{3});
  const Json single =
      TokenizerFilesFromGguf(metadata, "m.gguf").tokenizer["post_processor"]["single"];
  ASSERT_EQ(single.size(), 2u);
  EXPECT_EQ(single[1]["SpecialToken"]["id"], "</s>");
}

TEST(TokenizerFilesTest, NamedTokensAreSpecialWhateverTheirType) {
  Json metadata = Metadata("gpt-2");
  metadata.erase("tokenizer.ggml.token_type");
  EXPECT_TRUE(Tokenizer(TokenizerFilesFromGguf(metadata, "m.gguf")).IsSpecial(1));
}

struct BadValue {
  const char* name;
  Json value;
  const char* message;
};

TEST(TokenizerFilesTest, BadMetadataIsAnErrorThatNamesIt) {
  const BadValue cases[] = {
      {"model", "bert", "'bert' is not supported"},
      {"model", "llama", "expected a score for each of 7 tokens, found 0"},
      {"pre", "novel", "known are default, gpt-2, "},
      {"tokens", nullptr, "tokenizer.ggml.tokens"},
      {"tokens", Json::array({1, 2}), "expected a string"},
      {"tokens", {"a", "b", "a", "ab", "x", "y", "z"}, "tokens 0 and 2 are both 'a'"},
      {"token_type", {1, 2}, "expected 7 integers"},
      {"token_type", {1, 1, 1, 1, 1, 1, "x"}, "expected 7 integers"},
      {"merges", nullptr, "tokenizer.ggml.merges"},
      {"bos_token_id", "0", "bos_token_id"},
      {"eos_token_id", 1.5, "eos_token_id"},
  };
  for (const BadValue& bad : cases) {
    Json metadata = Metadata("smollm");
    metadata[std::string("tokenizer.ggml.") + bad.name] = bad.value;
    try {
      TokenizerFilesFromGguf(metadata, "m.gguf");
      ADD_FAILURE() << bad.name << ": no error";
    } catch (const Error& error) {
      EXPECT_EQ(std::string(error.what()).find("m.gguf"), 0u) << error.what();
      EXPECT_NE(std::string(error.what()).find(bad.message), std::string::npos) << error.what();
    }
  }
  Json without_bos = Metadata("llama-bpe");
  without_bos.erase("tokenizer.ggml.bos_token_id");
  EXPECT_ERROR("bos_token_id", TokenizerFilesFromGguf(without_bos, "m.gguf"));
  without_bos["tokenizer.ggml.bos_token_id"] = 7;
  EXPECT_ERROR("bos_token_id", TokenizerFilesFromGguf(without_bos, "m.gguf"));
}

// FindSpecialTokens warns of them.
TEST(TokenizerFilesTest, IdsThatNothingNeedsMayBeOutOfRange) {
  Json metadata = Metadata("smollm");
  for (const char* name : {"bos", "eos", "unknown", "padding", "eot", "eom"}) {
    metadata[fmt::format("tokenizer.ggml.{}_token_id", name)] = 32000;
  }
  metadata["tokenizer.ggml.add_eos_token"] = true;
  const TokenizerFiles files = TokenizerFilesFromGguf(metadata, "m.gguf");
  EXPECT_EQ(Tokenizer(files).Encode("a", {}), std::vector<int32_t>{3});
  EXPECT_FALSE(files.tokenizer_config.contains("eos_token"));
}

// Those that fill up an embedding stand for nothing.
TEST(TokenizerFilesTest, UnusedTokensAreNone) {
  Json metadata = Metadata("smollm");
  metadata["tokenizer.ggml.token_type"][6] = 5;
  const Tokenizer tokenizer(TokenizerFilesFromGguf(metadata, "m.gguf"));
  EXPECT_TRUE(tokenizer.Contains(5));
  EXPECT_FALSE(tokenizer.Contains(6));
}

// The vocabulary of testdata/tokenizer/sentencepiece as llama.cpp's converter writes it.
Json SentencePieceMetadata(const char* name = "sentencepiece") {
  const std::filesystem::path path =
      std::filesystem::path(kTestdata) / "tokenizer" / name / "tokenizer.model";
  const MappedFile file(path);
  const Vocabulary vocabulary = ParseSentencePieceModel(file.bytes(), path.string()).vocabulary;
  return {{"general.architecture", "llama"},
          {"tokenizer.ggml.model", "llama"},
          {"tokenizer.ggml.tokens", vocabulary.tokens},
          {"tokenizer.ggml.scores", vocabulary.scores},
          {"tokenizer.ggml.token_type", vocabulary.types},
          {"tokenizer.ggml.unknown_token_id", 0},
          {"tokenizer.ggml.bos_token_id", 1},
          {"tokenizer.ggml.eos_token_id", 2}};
}

TEST(TokenizerFilesTest, SentencePieceFromGguf) {
  Json metadata = SentencePieceMetadata();
  const Tokenizer tokenizer(TokenizerFilesFromGguf(metadata, "m.gguf"));
  const std::filesystem::path folder = std::filesystem::path(kTestdata) / "tokenizer";
  const std::string text = ReadFile(folder / "stress.txt").substr(0, 3000);
  const TempFolder model;
  model.Write("tokenizer.model", ReadFile(folder / "sentencepiece" / "tokenizer.model"));
  model.Write("tokenizer_config.json", R"({"legacy": true})");  // as llama.cpp does
  EXPECT_EQ(tokenizer.Encode(text, {}),
            Tokenizer(LoadTokenizerFiles(model.path())).Encode(text, {}));
  EXPECT_EQ(tokenizer.Encode("", {}), std::vector<int32_t>{1});
  for (const char* name : {"unknown", "bos", "eos"}) {  // llama.cpp's defaults
    metadata.erase(fmt::format("tokenizer.ggml.{}_token_id", name));
  }
  EXPECT_EQ(TokenizerFilesFromGguf(metadata, "m.gguf").tokenizer,
            TokenizerFilesFromGguf(SentencePieceMetadata(), "m.gguf").tokenizer);

  metadata["tokenizer.ggml.add_space_prefix"] = false;
  metadata["tokenizer.ggml.add_bos_token"] = false;
  const Tokenizer plain(TokenizerFilesFromGguf(metadata, "m.gguf"));
  const std::vector<int32_t> ids = plain.Encode("a b", {});
  EXPECT_EQ(plain.TokenBytes(ids.front()), "a");
  EXPECT_EQ(plain.Decode(ids, false), "a b");
}

// OPT's files.
TEST(TokenizerFilesTest, FromVocabAndMerges) {
  const std::filesystem::path gpt2 = std::filesystem::path(kTestdata) / "tokenizer/gpt2";
  const Json model = ReadJsonFile(gpt2 / "tokenizer.json")["model"];
  std::string merges = "#version: 0.2\n";
  for (const Json& merge : model["merges"]) {
    merges += merge[0].get<std::string>() + " " + merge[1].get<std::string>() + "\n";
  }
  const TempFolder folder;
  folder.Write("vocab.json", model["vocab"].dump());
  folder.Write("merges.txt", merges);
  const auto encode = [&](std::string_view text) {
    return Tokenizer(LoadTokenizerFiles(folder.path())).Encode(text, {});
  };
  const std::string text = ReadFile(gpt2.parent_path() / "stress.txt").substr(0, 300);
  EXPECT_EQ(encode(text),
            Tokenizer(LoadTokenizerFiles(gpt2)).Encode(text, {.parse_special = false}));
  // By GPT2Tokenizer of transformers 5.23 with this config.
  folder.Write("tokenizer_config.json", R"({"tokenizer_class": "GPT2Tokenizer",
      "bos_token": {"content": "<|endoftext|>"}, "eos_token": "<|endoftext|>",
      "add_bos_token": true, "add_prefix_space": false})");
  EXPECT_EQ(encode("hello world <|endoftext|>x"),
            (std::vector<int32_t>{0, 276, 78, 358, 315, 278, 413, 223, 0, 90}));
  EXPECT_EQ(encode("hello world"), (std::vector<int32_t>{0, 276, 78, 358, 315, 278, 413}));
  folder.Write("tokenizer_config.json", R"({"added_tokens_decoder": {"1": 2}})");
  EXPECT_ERROR("added_tokens_decoder: '1': expected an object", LoadTokenizerFiles(folder.path()));
  folder.Write("tokenizer_config.json", R"({"tokenizer_class": "Qwen2Tokenizer"})");
  EXPECT_ERROR("'Qwen2Tokenizer' need a tokenizer.json", LoadTokenizerFiles(folder.path()));
  folder.Write("tokenizer_config.json", "{}");
  folder.Write("vocab.json", "[]");
  EXPECT_ERROR("vocab.json: expected an object", LoadTokenizerFiles(folder.path()));
}

// As llama.cpp's converter writes what T5 has.
TEST(TokenizerFilesTest, UnigramFromGguf) {
  const std::filesystem::path folder =
      std::filesystem::path(kTestdata) / "tokenizer" / "unigram_model";
  const MappedFile file(folder / "tokenizer.model");
  const SentencePieceModel model = ParseSentencePieceModel(file.bytes(), "m");
  Json metadata = SentencePieceMetadata("unigram_model");
  metadata["tokenizer.ggml.model"] = "t5";
  metadata["tokenizer.ggml.remove_extra_whitespaces"] = model.method.removes_spaces;
  for (const char byte : model.method.character_map) {
    metadata["tokenizer.ggml.precompiled_charsmap"].push_back(static_cast<uint8_t>(byte));
  }
  const Tokenizer tokenizer(TokenizerFilesFromGguf(metadata, "m.gguf"));
  const std::string text = ReadFile(folder.parent_path() / "stress.txt").substr(0, 3000);
  EXPECT_EQ(tokenizer.Encode(text, {}),
            Tokenizer(LoadTokenizerFiles(folder)).Encode(text, {.add_prefix = false}));
  metadata["tokenizer.ggml.precompiled_charsmap"][0] = 256;
  EXPECT_ERROR("precompiled_charsmap: expected bytes", TokenizerFilesFromGguf(metadata, "m.gguf"));
}

// Every prefix of a file, and every byte changed: an error or a tokenizer, never a crash.
TEST(TokenizerFilesTest, HostileSentencePieceModels) {
  const std::filesystem::path path =
      std::filesystem::path(kTestdata) / "tokenizer/sentencepiece/tokenizer.model";
  const std::string good = ReadFile(path);
  const auto parse = [](std::string_view bytes) {
    return ErrorOf([&] { ParseSentencePieceModel(std::as_bytes(std::span(bytes)), "m"); });
  };
  EXPECT_EQ(parse(good), "");
  int errors = 0;
  for (size_t i = 0; i < good.size(); i += 7) {
    errors += !parse(std::string_view(good).substr(0, i)).empty();
    std::string bad = good;
    bad[i] = static_cast<char>(bad[i] ^ 0x55);
    parse(bad);
  }
  EXPECT_EQ(errors, static_cast<int>((good.size() + 6) / 7));  // the normalizer comes last
  EXPECT_ERROR("expected a SentencePiece model", {
    ParseSentencePieceModel(std::as_bytes(std::span("IQ== 0\n")), "m");  // as tiktoken's files
  });
}

TEST(TokenizerFilesTest, FromAFolder) {
  const std::filesystem::path folder =
      std::filesystem::path(testing::TempDir()) / "fptq_tokenizer_files_test";
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  const auto write = [&](const char* name, std::string_view text) {
    std::ofstream(folder / name) << text;
  };
  EXPECT_THROW(LoadTokenizerFiles(folder), Error);
  write("tokenizer.json", "{}");
  const auto templates = [&] { return LoadTokenizerFiles(folder).chat_templates; };
  EXPECT_EQ(templates(), Templates());
  EXPECT_EQ(LoadTokenizerFiles(folder).tokenizer_config, Json::object());
  write("chat_template.json", R"({"chat_template": "zero"})");
  EXPECT_EQ(templates(), (Templates{{"default", "zero"}}));
  write("tokenizer_config.json", R"({"chat_template": "one"})");
  EXPECT_EQ(templates(), (Templates{{"default", "one"}}));
  write("tokenizer_config.json", R"({"chat_template": [{"name": "tool_use", "template": "t"},
                                                       {"name": "default", "template": "two"}]})");
  EXPECT_EQ(templates(), (Templates{{"default", "two"}, {"tool_use", "t"}}));
  write("chat_template.jinja", "three");
  EXPECT_EQ(templates(), (Templates{{"default", "three"}}));
  std::filesystem::create_directories(folder / "additional_chat_templates");
  write("additional_chat_templates/tool_use.jinja", "tools");
  write("additional_chat_templates/notes.txt", "none");
  EXPECT_EQ(templates(), (Templates{{"default", "three"}, {"tool_use", "tools"}}));
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace fptq
