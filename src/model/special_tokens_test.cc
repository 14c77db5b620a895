#include "model/special_tokens.h"

#include <gtest/gtest.h>

#include "base/test_paths.h"
#include "base/test_util.h"
#include "files/json_file.h"
#include "model/source.h"

namespace fptq {
namespace {

namespace fs = std::filesystem;

const fs::path kModels = fs::path(kTestdata) / "models";

// The tiny model has the tokens <|endoftext|>, <|im_start|> and <|im_end|> as 0, 1 and 2 of 288.
class SpecialTokensTest : public testing::Test {
 protected:
  SpecialTokensTest() {
    fs::copy(kModels / "tiny-llama-f32", folder_.path());
    Edit("config.json", [](Json& json) {
      json.erase("bos_token_id");
      json.erase("eos_token_id");
    });
    Edit("tokenizer_config.json", [](Json& json) {
      json.erase("bos_token");
      json.erase("eos_token");
    });
  }

  void Edit(const char* name, const std::function<void(Json&)>& change) {
    const fs::path path = folder_ / name;
    Json json = fs::exists(path) ? ReadJsonFile(path) : Json::object();
    change(json);
    folder_.Write(name, json.dump());
  }
  void Set(const char* file, const char* field, const Json& value) {
    Edit(file, [&](Json& json) { json[field] = value; });
  }
  SpecialTokens Find() {
    const ModelSource source = ModelSource::Open(folder_.path());
    const TokenizerFiles files = source.LoadTokenizer();
    return FindSpecialTokens(source.checkpoint(), files, Tokenizer(files, source.config().vocab));
  }

  TempFolder folder_;
};

TEST_F(SpecialTokensTest, NothingSaysAnything) {
  const SpecialTokens special = Find();
  EXPECT_EQ(special.bos, -1);
  EXPECT_TRUE(special.eos.empty());
  EXPECT_EQ(special.start, -1);
  EXPECT_EQ(special.warning, "");
}

// Each source alone, and all of them together.
TEST_F(SpecialTokensTest, AllSourcesAreUnited) {
  using Ids = std::vector<int32_t>;
  Set("tokenizer_config.json", "eos_token", "<|im_end|>");
  EXPECT_EQ(Find().eos, Ids{2});
  Set("tokenizer_config.json", "eos_token", Json{{"content", "<|endoftext|>"}, {"lstrip", false}});
  EXPECT_EQ(Find().eos, Ids{0});
  Edit("tokenizer_config.json", [](Json& json) { json.erase("eos_token"); });
  Set("special_tokens_map.json", "eos_token", "<|im_start|>");
  EXPECT_EQ(Find().eos, Ids{1});
  Set("special_tokens_map.json", "eos_token", Json{{"content", "<|im_end|>"}});
  EXPECT_EQ(Find().eos, Ids{2});
  Set("generation_config.json", "eos_token_id", 7);
  EXPECT_EQ(Find().eos, (Ids{7, 2}));
  Set("generation_config.json", "eos_token_id", {9, 7, 9});
  EXPECT_EQ(Find().eos, (Ids{9, 7, 2}));
  Set("config.json", "eos_token_id", {0, 2});
  EXPECT_EQ(Find().eos, (Ids{0, 2, 9, 7}));
  EXPECT_EQ(Find().warning, "");
}

TEST_F(SpecialTokensTest, AnEmptyContextIsTheTokenizersBosOrEos) {
  Set("config.json", "eos_token_id", 9);
  EXPECT_EQ(Find().start, 9);
  Set("config.json", "bos_token_id", 8);
  EXPECT_EQ(Find().start, 8);
  EXPECT_EQ(Find().bos, 8);
  Set("tokenizer_config.json", "eos_token", "<|im_end|>");
  EXPECT_EQ(Find().start, 2);
  Set("special_tokens_map.json", "bos_token", "<|im_start|>");
  EXPECT_EQ(Find().start, 1);
  EXPECT_EQ(Find().bos, 8);
}

// One warning for all that cannot be.
TEST_F(SpecialTokensTest, WhatTheModelDoesNotHaveIsIgnoredWithAWarning) {
  Set("config.json", "eos_token_id", {32000, 2, -1});
  Set("config.json", "bos_token_id", 18446744073709551615u);
  Set("generation_config.json", "eos_token_id", int64_t{1} << 32);
  Set("tokenizer_config.json", "eos_token", "</s>");
  const SpecialTokens special = Find();
  EXPECT_EQ(special.eos, std::vector<int32_t>{2});
  EXPECT_EQ(special.bos, -1);
  for (const char* part :
       {"eos_token_id 32000 (config.json)", "eos_token_id -1 (config.json)",
        "bos_token_id 18446744073709551615", "eos_token_id 4294967296 (generation_config.json)",
        "eos_token '</s>'"}) {
    EXPECT_NE(special.warning.find(part), std::string::npos) << special.warning;
  }
  Set("config.json", "eos_token_id", "2");
  EXPECT_ERROR("'eos_token_id': expected a token id, found string", Find());
}

// A hole of the vocabulary within the embedding.
TEST_F(SpecialTokensTest, AnIdWithoutATokenIsIgnored) {
  Edit("tokenizer.json", [](Json& json) {
    auto& vocab = json["model"]["vocab"];
    for (auto it = vocab.begin(); it != vocab.end(); ++it) {
      if (it.value() == 287) it.value() = 300;
    }
  });
  Set("config.json", "eos_token_id", 287);
  EXPECT_TRUE(Find().eos.empty());
  EXPECT_NE(Find().warning.find("287"), std::string::npos);
}

TEST(SpecialTokens, OfAGgufFile) {
  const fs::path path = kModels / "tiny-llama-gguf" / "model.gguf";
  const auto checkpoint = Checkpoint::Open(path);
  const TokenizerFiles files = TokenizerFilesFromGguf(checkpoint->metadata(), "m.gguf");
  const SpecialTokens special = FindSpecialTokens(*checkpoint, files, Tokenizer(files));
  EXPECT_EQ(special.bos, 1);
  EXPECT_EQ(special.eos, std::vector<int32_t>{2});
  EXPECT_EQ(special.warning, "");
}

TEST(SpecialTokens, AreWrittenOnlyWhereTheySaySomething) {
  Json config = Json::object();
  WriteSpecialTokens({}, config);
  EXPECT_EQ(config, Json::object());
  SpecialTokens special;
  special.bos = 1;
  special.eos = {2};
  WriteSpecialTokens(special, config);
  EXPECT_EQ(config, (Json{{"bos_token_id", 1}, {"eos_token_id", 2}}));
  special.bos = -1;
  special.eos = {2, 3};
  WriteSpecialTokens(special, config);
  EXPECT_EQ(config, (Json{{"bos_token_id", nullptr}, {"eos_token_id", {2, 3}}}));
}

}  // namespace
}  // namespace fptq
