// Which tokens models are given and give, seen from the command line.
#include <gtest/gtest.h>

#include <cstring>
#include <functional>

#include "base/json.h"
#include "base/test_paths.h"
#include "cli/testing.h"
#include "files/json_file.h"
#include "model/testing.h"

namespace fptq {
namespace {

namespace fs = std::filesystem;

const fs::path kTiny = fs::path(kTestdata) / "models" / "tiny-llama-f32";

// A copy of the tiny model, whose files are edited. Its tokenizer has the special tokens
// <|endoftext|>, <|im_start|> and <|im_end|> as 0, 1 and 2 and puts nothing before a text.
class EditedModel {
 public:
  EditedModel() { fs::copy(kTiny, folder_ / "model"); }

  std::string path() const { return (folder_ / "model").string(); }
  fs::path operator/(std::string_view name) const { return fs::path(path()) / name; }
  const TempFolder& folder() const { return folder_; }

  EditedModel& Edit(const char* name, const std::function<void(Json&)>& change) {
    const fs::path file = *this / name;
    Json json = fs::exists(file) ? ReadJsonFile(file) : Json::object();
    change(json);
    folder_.Write((fs::path("model") / name).string(), json.dump());
    return *this;
  }
  EditedModel& Set(const char* name, const char* field, const Json& value) {
    return Edit(name, [&](Json& json) { json[field] = value; });
  }

 private:
  TempFolder folder_;
};

// What stands before and after a text.
Json Template(const std::vector<std::pair<std::string, int>>& before,
              const std::vector<std::pair<std::string, int>>& after) {
  Json single = Json::array(), tokens = Json::object();
  const auto add = [&](const auto& side) {
    for (const auto& [token, id] : side) {
      single.push_back({{"SpecialToken", {{"id", token}, {"type_id", 0}}}});
      tokens[token] = {{"id", token}, {"ids", Json::array({id})}, {"tokens", Json::array({token})}};
    }
  };
  add(before);
  single.push_back({{"Sequence", {{"id", "A"}, {"type_id", 0}}}});
  add(after);
  return {{"type", "TemplateProcessing"}, {"single", single}, {"special_tokens", tokens}};
}

int64_t PromptTokens(const std::string& model, const std::string& prompt) {
  const std::string err = Succeed({"run", model, "-p", prompt, "-n", "1"}).err;
  const size_t at = err.find("[prompt: ");
  EXPECT_NE(at, std::string::npos) << err;
  return std::stoll(err.substr(at + std::strlen("[prompt: ")));
}

// How often `part` stands in `text`.
int64_t Count(const std::string& text, const std::string& part) {
  int64_t count = 0;
  for (size_t at = text.find(part); at != text.npos; at = text.find(part, at + 1)) ++count;
  return count;
}

const std::string kText = [] {
  std::string text;
  for (int i = 0; i < 20; ++i) text += "The quick brown fox jumps over the lazy dog.\n";
  return text;
}();

// Rows that only fill up the embedding would be most probable of all.
TEST(Run, RowsWithoutATokenAreNeverDrawn) {
  const TempFolder folder;
  EditModel(kTiny, folder / "model", [](EditableModel& model) {
    EditableModel::Tensor tensor = model.tensors["model.embed_tokens.weight"];
    std::vector<float> values(tensor.bytes.size() / sizeof(float));
    std::memcpy(values.data(), tensor.bytes.data(), tensor.bytes.size());
    const auto rows = static_cast<size_t>(tensor.shape[0]), k = values.size() / rows;
    for (size_t i = 64 * k; i < 128 * k; ++i) values.push_back(4 * values[i]);
    model.config["vocab_size"] = rows + 64;
    model.Set("model.embed_tokens.weight", DataType::kF32,
              {static_cast<int64_t>(rows) + 64, static_cast<int64_t>(k)},
              std::as_bytes(std::span(values)));
  });
  const std::string model = (folder / "model").string();
  for (const char* seed : {"1", "2", "3"}) {
    for (const char* temperature : {"0", "1"}) {
      const Result result = Succeed({"run", model, "-p", "the dog", "-n", "64", "--temperature",
                                     temperature, "--top-k", "0", "--top-p", "1", "--seed", seed});
      EXPECT_EQ(Count(result.err, "error"), 0);
    }
  }
  Succeed({"plan", model, "--calibration", "self", "--calibration-tokens", "128"});
  Succeed({"plan", model, "--calibration", "random", "--calibration-tokens", "128"});
}

TEST(Run, AnswersEndBeforeAStopText) {
  const auto run = [](std::vector<std::string> options) {
    std::vector<std::string> arguments = {"run", kTiny.string(),  "-p", "the dog", "-n",
                                          "40",  "--temperature", "0"};
    arguments.insert(arguments.end(), options.begin(), options.end());
    return Succeed(arguments).out;
  };
  const std::string whole = run({});
  ASSERT_GT(whole.size(), 20u);
  const std::string stop = whole.substr(8, 5);
  const std::string expected = whole.substr(0, whole.find(stop)) + "\n";
  EXPECT_EQ(run({"--stop", stop}), expected);
  EXPECT_EQ(run({"--stop", "never there", "--stop", stop}), expected);
  EXPECT_NE(run({"--frequency-penalty", "2", "--presence-penalty", "2"}), whole);
  Fail("stop: expected strings that are not empty",
       {"run", kTiny.string(), "-p", "the dog", "--stop", ""});
  Fail("--presence-penalty", {"run", kTiny.string(), "-p", "x", "--presence-penalty", "3"});
}

TEST(Run, OnlyWhatStandsBeforeATextIsAPrefix) {
  const std::pair<std::string, int> bos = {"<|im_start|>", 1}, eos = {"<|im_end|>", 2};
  EditedModel with_bos, with_both;
  with_bos.Set("tokenizer.json", "post_processor", Template({bos}, {}));
  with_both.Set("tokenizer.json", "post_processor", Template({bos}, {eos}));
  const std::string text = with_bos.folder().Write("text", kText).string();
  const auto perplexity = [&](const EditedModel& model) {
    return Succeed({"perplexity", model.path(), "--text", text, "--context", "64", "--json"}).out;
  };
  EXPECT_EQ(perplexity(with_bos), perplexity(with_both));
  EXPECT_NE(perplexity(with_bos), perplexity(EditedModel()));
  const int64_t plain = PromptTokens(EditedModel().path(), "the dog");
  EXPECT_EQ(PromptTokens(with_bos.path(), "the dog"), plain + 1);
  EXPECT_EQ(PromptTokens(with_both.path(), "the dog"), plain + 1);
  EXPECT_EQ(PromptTokens(with_both.path(), "<|im_start|>the dog"), plain + 1);
}

// bos_token_id of config.json is another one here, as in many a folder.
TEST(Run, CalibrationHasTheTokenizersPrefixToo) {
  EditedModel model;
  model.Set("tokenizer.json", "post_processor", Template({{"<|endoftext|>", 0}}, {}));
  const auto plan = [](const EditedModel& m) {
    return Succeed({"plan", m.path(), "--calibration", "random", "--calibration-tokens", "64"}).out;
  };
  const std::string with_prefix = plan(model);
  EXPECT_NE(with_prefix, plan(EditedModel()));
  model.Edit("config.json", [](Json& json) { json.erase("bos_token_id"); });
  EXPECT_EQ(with_prefix, plan(model));
}

TEST(Run, AddBosTokenOfTheTokenizerConfigCounts) {
  EditedModel model;
  model.Edit("tokenizer_config.json", [](Json& json) {
    json.update({{"tokenizer_class", "LlamaTokenizerFast"}, {"add_bos_token", true}});
  });
  EXPECT_EQ(PromptTokens(model.path(), "the dog"),
            1 + PromptTokens(EditedModel().path(), "the dog"));
}

TEST(Run, APrefixBeyondTheEmbeddingIsAnErrorAtLoad) {
  EditedModel model;
  model.Edit("tokenizer.json", [](Json& json) {
    json["added_tokens"].push_back({{"id", 288}, {"content", "<s>"}, {"special", true}});
    json["post_processor"] = Template({{"<s>", 288}}, {});
  });
  model.Set("config.json", "bos_token_id", 288);
  const std::string text = model.folder().Write("text", kText).string();
  const std::string out = (model.folder() / "out").string();
  const std::string message = "'<s>' stands before every text: expected an id below 288";
  Fail(message, {"run", model.path(), "-p", "x"});
  Fail(message, {"run", model.path(), "--chat", "-p", "x"});
  Fail(message, {"perplexity", model.path(), "--text", text});
  for (const std::string calibration : {"self", "random", text.c_str()}) {
    Fail(message, {"plan", model.path(), "--calibration", calibration});
  }
  Fail(message, {"bench", model.path()});
  EXPECT_EQ(Fptq({"quantize", model.path(), "-o", out}).status, 1);
  EXPECT_NE(Succeed({"inspect", model.path()}).err.find(message), std::string::npos);
}

// An added token beyond the embedding hurts only where a text has it.
TEST(Run, ATokenBeyondTheEmbeddingIsAnErrorWhereItIsUsed) {
  EditedModel model;
  model.Edit("tokenizer.json", [](Json& json) {
    json["added_tokens"].push_back({{"id", 300}, {"content", "<tool>"}, {"special", false}});
  });
  Succeed({"run", model.path(), "-p", "x", "-n", "1"});
  Fail("the token '<tool>' with the id 300", {"run", model.path(), "-p", "a <tool> b"});
  const std::string text = model.folder().Write("text", kText + "<tool>").string();
  Fail("the token '<tool>' with the id 300", {"perplexity", model.path(), "--text", text});
  Fail("the token '<tool>' with the id 300", {"plan", model.path(), "--calibration", text});
}

TEST(Run, AStopTokenBeyondTheEmbeddingIsOneWarning) {
  for (const char* file : {"config.json", "generation_config.json"}) {
    EditedModel model;
    model.Set(file, "eos_token_id", 32000).Set(file, "bos_token_id", 40000);
    const std::string text = model.folder().Write("text", kText).string();
    for (const std::vector<std::string>& args : std::vector<std::vector<std::string>>{
             {"run", model.path(), "-p", "x", "-n", "2"},
             {"run", model.path(), "--chat", "-p", "x", "-n", "2"},
             {"perplexity", model.path(), "--text", text},
             {"plan", model.path(), "--calibration-tokens", "64"},
             {"inspect", model.path()}}) {
      const Result result = Succeed(args);
      EXPECT_EQ(Count(result.err, "are ignored: "), 1) << args[0] << ": " << result.err;
      EXPECT_EQ(Count(result.err, "eos_token_id 32000 ("), 1) << result.err;
    }
  }
}

// Which files name the tokens that end a text, and that a quantized folder keeps all of them.
TEST(Run, EndsOfTextAreUnitedAndKept) {
  EditedModel model;
  model.Edit("config.json", [](Json& json) { json.erase("eos_token_id"); });
  model.Set("generation_config.json", "eos_token_id", {0, 7});
  model.Set("generation_config.json", "top_p", 0.5);
  const auto eos = [](const std::string& path) {
    return ParseJson(Succeed({"inspect", path, "--json"}).out, "inspect")["config"]["eos_tokens"];
  };
  EXPECT_EQ(eos(model.path()), (Json{0, 7, 2}));
  const fs::path out = model.folder() / "out";
  Succeed({"quantize", model.path(), "-o", out.string(), "--recipe", "rtn", "--calibration",
           "random", "--calibration-tokens", "64"});
  EXPECT_EQ(eos(out.string()), (Json{0, 7, 2}));
  EXPECT_EQ(ReadJsonFile(out / "config.json")["eos_token_id"], (Json{0, 7, 2}));
  EXPECT_EQ(ReadJsonFile(out / "generation_config.json")["eos_token_id"], (Json{0, 7, 2}));
  EXPECT_EQ(ReadJsonFile(out / "generation_config.json")["top_p"], 0.5);
}

// Lines of other systems, and a mark at the beginning, are no part of what a text says.
TEST(Run, TextsOfOtherSystems) {
  const std::string model = kTiny.string();
  const auto chat = [&](std::string_view input) {
    return Succeed({"run", model, "--chat", "--temperature", "0", "-n", "4"}, input).out;
  };
  const std::string answer = chat("hi\nyou\n");
  EXPECT_EQ(answer, chat("\xef\xbb\xbfhi\r\n\r\nyou\r\n"));
  EXPECT_EQ(answer, chat("hi\ryou\r"));
  EXPECT_EQ(answer, chat("hi\r\nyou"));
  EXPECT_EQ(chat("hi\n/exit\nyou\n"), chat("hi\r\n/exit\r\nyou\r\n"));
  const auto complete = [&](std::string_view input) {
    return Succeed({"run", model, "--temperature", "0", "-n", "4"}, input).out;
  };
  EXPECT_EQ(complete("hi"), complete("\xef\xbb\xbfhi\r\n"));
  EXPECT_EQ(complete("hi"), complete("hi\n"));
  EXPECT_NE(complete("hi\n"), complete("hi\n\n"));
  Fail("standard input: expected text in UTF-8, found UTF-16", {"run", model},
       std::string_view("\xff\xfeh\0", 4));

  const TempFolder folder;
  const auto perplexity = [&](const std::string& text) {
    const std::string file = folder.Write("text", text).string();
    return Succeed({"perplexity", model, "--text", file, "--json"}).out;
  };
  EXPECT_EQ(perplexity(kText), perplexity("\xef\xbb\xbf" + kText));
  // A NUL is a character like others, and what is no UTF-8 reads as U+FFFD.
  EXPECT_NE(perplexity(kText + std::string(1, '\0')), perplexity(kText));
  EXPECT_EQ(perplexity("a\xff" + kText), perplexity("a\xef\xbf\xbd" + kText));
  const std::string wide = folder.Write("wide", std::string("\xfe\xff\0a\0b", 6)).string();
  Fail("found UTF-16", {"perplexity", model, "--text", wide});
  Fail("found UTF-16", {"plan", model, "--calibration", wide});
}

TEST(Run, ShortCalibrationTextsAreWarnedOf) {
  EditedModel model;
  const std::string text = model.folder().Write("text", "one sentence is all\n").string();
  const Result plan = Succeed({"plan", model.path(), "--calibration", text});
  EXPECT_NE(plan.err.find("calibrating with 20 tokens, all that the text has, instead of 32768"),
            std::string::npos)
      << plan.err;
  const fs::path out = model.folder() / "out";
  const Result quantize = Succeed({"quantize", model.path(), "-o", out.string(), "--calibration",
                                   text, "--calibration-tokens", "100"});
  EXPECT_NE(quantize.err.find("20 tokens, all that the text has, instead of 100"),
            std::string::npos)
      << quantize.err;
  EXPECT_EQ(ReadJsonFile(out / "fptq.json")["calibration_tokens"], 20);
  const Result enough =
      Succeed({"plan", model.path(), "--calibration", text, "--calibration-tokens", "15"});
  EXPECT_EQ(enough.err.find("all that the text has"), std::string::npos) << enough.err;
}

}  // namespace
}  // namespace fptq
