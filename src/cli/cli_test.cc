// Runs the program as a user does.
#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/test_util.h"
#include "cli/interrupt.h"
#include "cli/testing.h"
#include "files/json_file.h"
#include "io/gguf_test_util.h"

namespace fptq {
namespace {

std::vector<std::string> Greedy(std::vector<std::string> args,
                                const std::vector<std::string>& more = {}) {
  args.insert(args.end(), {"--temperature", "0", "-n", "8"});
  args.insert(args.end(), more.begin(), more.end());
  return args;
}

TEST(Cli, VersionNamesTheKernels) {
  EXPECT_TRUE(Succeed({"--version"}).out.starts_with("fptq "));
  setenv("FPTQ_ISA", "scalar", 1);
  EXPECT_NE(Succeed({"--version"}).out.find("(scalar)"), std::string::npos);
  setenv("FPTQ_ISA", "bogus", 1);
  Fail("bogus", {"--version"});
  unsetenv("FPTQ_ISA");
}

TEST(Cli, HelpListsSubcommandsAndOptions) {
  EXPECT_NE(Succeed({"--help"}).out.find("quantize"), std::string::npos);
  EXPECT_NE(Succeed({"quantize", "--help"}).out.find("--calibration"), std::string::npos);
}

// All that the helps list, with what they say of it.
TEST(Cli, ManualAndCompletionHaveTheOptionsOfTheHelp) {
  const std::string manual = Succeed({"--manual"}).out, bash = Succeed({"--bash-completion"}).out;
  for (const std::string name : {"quantize", "serve", "bench"}) {
    const std::string help = Succeed({name, "--help"}).out;
    int options = 0;
    for (size_t at = help.find("  --"); at != help.npos; at = help.find("  --", at + 1)) {
      const std::string option = help.substr(at + 4, help.find_first_of(" \n,", at + 4) - at - 4);
      std::string troff;
      for (const char c : "--" + option) troff += c == '-' ? "\\-" : std::string(1, c);
      EXPECT_NE(manual.find(troff), manual.npos) << option;
      EXPECT_NE(bash.find(" --" + option), bash.npos) << option;
      ++options;
    }
    EXPECT_GE(options, 5) << help;
  }
  EXPECT_NE(manual.find("cores"), manual.npos);
}

TEST(Cli, WrongUsageIsOneLine) {
  const std::string model = Tiny("tiny-llama-w4a8");
  Fail("quantize, plan, compare, inspect, run, serve, perplexity", {});
  Fail("'frobnicate'", {"frobnicate"});
  Fail("MODEL", {"run"});
  Fail("--bogus", {"run", model, "--bogus"});
  Fail("--output", {"quantize", model});
  Fail("--threads", {"run", model, "-p", "x", "--threads", "0"});
  Fail("'1.5'", {"run", model, "-p", "x", "-n", "1.5"});
  Fail("'-3'", {"run", model, "-p", "x", "-n", "-3"});
  Fail("'nan'", {"run", model, "-p", "x", "--top-p", "nan"});
  Fail("'2'", {"run", model, "-p", "x", "--top-p", "2"});
  Fail("'-0.1'", {"run", model, "-p", "x", "--temperature", "-0.1"});
  Fail("--context", {"run", model, "-p", "x", "--context", "100000"});
  Fail("--system is for --chat", {"run", model, "-p", "x", "--system", "y"});
  Fail("bogus", {"plan", model, "--policy", "bogus"});
  Fail("v0", {"plan", model, "--v0", "nan"});
  Fail("no such", {"inspect", "no\nsuch"});
  Fail("no  [2Jsuch", {"inspect", "no\n\x1b[2Jsuch"});
}

TEST(Cli, ReportOfAnotherFileIsAnError) {
  const TempFolder folder;
  for (const char* text : {"[1]", "null", "{}", R"({"sites": 1, "linears": {}, "recipe": []})"}) {
    folder.Write("fptq.json", text);
    Fail("fptq.json", {"report", folder.path().string(), "-o", folder / "page.html"});
  }
}

TEST(Cli, QuantizesAndShowsAndRuns) {
  const TempFolder folder;
  const std::string source = Tiny("tiny-llama-f32"), model = folder / "w4a8";
  const Result quantized =
      Succeed({"quantize", source, "-o", model, "--calibration-tokens", "512"});
  EXPECT_NE(quantized.out.find("bits each"), std::string::npos);
  EXPECT_EQ(quantized.err, "");
  Fail("--force", {"quantize", source, "-o", model});
  Succeed({"quantize", source, "-o", model, "--force", "--calibration-tokens", "512"});

  const Json description = ParseJson(Succeed({"inspect", model, "--json"}).out, "inspect");
  EXPECT_EQ(description["config"]["layers"], 2);
  EXPECT_EQ(description["policy"].size(), 8u);
  // 4 bits and a 16- or 32-bit scale a group of 32 weights, and the shapes.
  EXPECT_GT(description["bits_per_weight"], 4.4);
  EXPECT_LT(description["bits_per_weight"], 5.5);
  const Json& config = description["config"];
  const auto number = [&](const char* name) { return config[name].get<int64_t>(); };
  // Keys and values in 8 bits, and their scales.
  const int64_t position = number("layers") * number("kv_heads") * 2 * (number("head_dim") + 4);
  EXPECT_EQ(description["kv_bytes_per_position"], position);
  EXPECT_EQ(description["kv_bytes"], position * number("max_positions"));
  EXPECT_NE(Succeed({"inspect", model}).out.find("mlp_mid"), std::string::npos);
  EXPECT_NE(Succeed(Greedy({"run", model, "-p", "The river"})).out, "\n");
}

TEST(Cli, ShowsAndRunsWhatOthersQuantized) {
  for (const char* name : {"tiny-llama-w8a8", "tiny-llama-mixed"}) {
    EXPECT_NE(Succeed(Greedy({"run", Tiny(name), "-p", "The river"})).out, "\n") << name;
  }
  const Json w8a8 = ParseJson(Succeed({"inspect", Tiny("tiny-llama-w8a8"), "--json"}).out, "w8a8");
  EXPECT_EQ(w8a8["format"], "compressed-tensors int-quantized");
  EXPECT_EQ(w8a8["quantization"], ParseJson(R"([{"linears": 14, "weights": "int8 symmetric",
      "scales": "per channel", "activations": "int8 per token", "runs_as": "W8A8"}])",
                                            "test"));
  const std::string mixed = Succeed({"inspect", Tiny("tiny-llama-mixed")}).out;
  for (const char* part : {"int4 asymmetric  per group of 32  int8 per token  W4A8",
                           "int4 asymmetric  per group of 32  float           float32",
                           "int8 symmetric   per tensor       int8 static     W8A8"}) {
    EXPECT_NE(mixed.find(part), std::string::npos) << part << "\n" << mixed;
  }
}

TEST(Cli, InspectNamesWhatIsNotSupported) {
  const TempFolder folder;
  std::filesystem::copy(Tiny("tiny-llama-f32"), folder / "model");
  const std::string path = folder / "model/config.json";
  const Json config = ReadJsonFile(path);
  const auto fail = [&](const char* part, const char* field, const Json& value) {
    Json changed = config;
    changed[field] = value;
    folder.Write("model/config.json", changed.dump());
    Fail(part, {"inspect", folder / "model"});
  };
  fail("architecture 'mamba' is not supported; supported: ", "model_type", "mamba");
  for (const char* method : {"bitsandbytes", "fp8", "hqq"}) {
    fail("is not supported; supported: compressed-tensors pack-quantized", "quantization_config",
         {{"quant_method", method}, {"bits", 4}});
  }
}

// Each subcommand that opens a model says, on a line of its own and once, what is odd about it.
TEST(Cli, WarnsOnce) {
  const TempFolder folder;
  std::filesystem::copy(Tiny("tiny-llama-f32"), folder / "model");
  Json config = ReadJsonFile(folder / "model/config.json");
  config["tie_word_embeddings"] = false;
  folder.Write("model/config.json", config.dump());
  const std::string model = folder / "model";
  const auto text = folder.Write("text", "The quick brown fox jumps over the lazy dog.");
  const std::vector<std::vector<std::string>> commands = {
      {"inspect", model},
      {"run", model, "-p", "a", "-n", "1"},
      {"perplexity", model, "--text", text},
      {"plan", model, "--calibration", "random", "--calibration-tokens", "64"},
      {"quantize", model, "-o", folder / "out", "--calibration", "random", "--calibration-tokens",
       "64", "--rounding", "rtn"}};
  for (const std::vector<std::string>& command : commands) {
    const std::string err = Succeed(command).err;
    const std::string warning = fmt::format("fptq: warning: {}: lm_head: is missing", model);
    const size_t at = err.find(warning);
    EXPECT_TRUE(at == 0 || (at < err.size() && err[at - 1] == '\n')) << command[0] << ": " << err;
    EXPECT_EQ(err.find(warning, at + 1), std::string::npos) << command[0] << ": " << err;
  }
}

TEST(Cli, PlanHasARowASite) {
  const TempFolder folder;
  const Result plan = Succeed({"plan", Tiny("tiny-llama-f32"), "--calibration-tokens", "512"});
  EXPECT_EQ(std::count(plan.out.begin(), plan.out.end(), '\n'), 1 + 2 * 4 + 2);
  EXPECT_NE(plan.out.find("\n4.6071 bits a weight of the linears"), std::string::npos) << plan.out;
  const std::string recipe =
      folder.Write("r.json", R"({"policy": "dynamic", "calibration_tokens": 512})");
  const Result dynamic = Succeed({"plan", Tiny("tiny-llama-f32"), "--recipe", recipe});
  EXPECT_EQ(dynamic.out.find("static"), std::string::npos);
  const Result overridden =
      Succeed({"plan", Tiny("tiny-llama-f32"), "--recipe", recipe, "--policy", "static"});
  EXPECT_NE(overridden.out.find("static"), std::string::npos);
  const Result mixed =
      Succeed({"plan", Tiny("tiny-llama-f32"), "--recipe", recipe, "--bits", "5.7"});
  EXPECT_NE(mixed.out.find("  4 8 8  "), std::string::npos) << mixed.out;
  const Result asymmetric =
      Succeed({"plan", Tiny("tiny-llama-f32"), "--recipe", recipe, "--asymmetric"});
  EXPECT_NE(asymmetric.out.find(" asymmetric "), std::string::npos) << asymmetric.out;
  EXPECT_EQ(dynamic.out.find(" asymmetric "), std::string::npos) << dynamic.out;
  Fail("'bits': expected at least", {"plan", Tiny("tiny-llama-f32"), "--bits", "4.5"});
}

TEST(Cli, NamesThePreTokenizerThatAGgufFileLacks) {
  const TempFolder folder;
  const std::string whole = Tiny("tiny-llama-gguf") + "/model.gguf", file = folder / "m.gguf";
  EditGguf(whole, file, [](GgufModel& model) { model.metadata.erase("tokenizer.ggml.pre"); });
  const auto run = [](const std::string& model) {
    return std::vector<std::string>{"run", model, "-p", "In 1987", "-n", "5", "--seed", "1"};
  };
  Fail("tokenizer.ggml.pre is missing: --pre-tokenizer must name", run(file));
  std::vector<std::string> named = run(file);
  named.insert(named.end(), {"--pre-tokenizer", "smollm"});
  EXPECT_EQ(Succeed(named).out, Succeed(run(whole)).out);
  named.back() = "novel";
  Fail("'novel' is not supported; known are", named);
  named = run(Tiny("tiny-llama-f32"));
  named.insert(named.end(), {"--pre-tokenizer", "smollm"});
  Fail("expected a GGUF file, as a pre-tokenizer is named for it, found a folder", named);

  // The other subcommands that open a source; of two models the name is for the GGUF file.
  const std::string text = folder.Write("t.txt", std::string(400, 'a'));
  const std::vector<std::string> quick = {"--calibration", "random", "--calibration-tokens", "64",
                                          "--rounding",    "rtn"};
  const auto succeed = [&](std::vector<std::string> args, bool is_quantization) {
    if (is_quantization) args.insert(args.end(), quick.begin(), quick.end());
    args.insert(args.end(), {"--pre-tokenizer", "smollm"});
    Succeed(args);
  };
  succeed({"plan", file}, true);
  succeed({"quantize", file, "-o", folder / "out"}, true);
  succeed({"inspect", file}, false);
  const std::string out = folder / "out";
  succeed({"perplexity", out, "--text", text, "--context", "64", "--against", file}, false);
  succeed({"perplexity", file, "--text", text, "--context", "64", "--against", out}, false);
}

TEST(Cli, InspectsFloatModels) {
  const Json folder =
      ParseJson(Succeed({"inspect", Tiny("tiny-llama-bf16"), "--json"}).out, "inspect");
  EXPECT_EQ(folder["bits_per_weight"], 16.0);
  EXPECT_FALSE(folder.contains("policy"));
  EXPECT_NE(Succeed({"inspect", Tiny("tiny-llama-gguf/model.gguf")}).out.find("GGUF"),
            std::string::npos);
}

TEST(Cli, RunTakesItsPromptFromAFlagOrThePipe) {
  const std::string model = Tiny("tiny-llama-w4a8");
  const Result flag = Succeed(Greedy({"run", model, "-p", "The river"}));
  const Result pipe = Succeed(Greedy({"run", model}), "The river\n");
  EXPECT_EQ(flag.out, pipe.out);
  EXPECT_NE(flag.err.find("tokens/s"), std::string::npos);
  Fail("empty", Greedy({"run", model}), "");
}

TEST(Cli, EqualSeedsGiveEqualText) {
  const auto text = [](const char* seed) {
    return Succeed({"run", Tiny("tiny-llama-w4a8"), "-p", "The", "--temperature", "2", "--seed",
                    seed, "-n", "20"})
        .out;
  };
  EXPECT_EQ(text("1"), text("1"));
  EXPECT_NE(text("1"), text("2"));
}

TEST(Cli, ContextLimitsAreStated) {
  const std::string model = Tiny("tiny-llama-w4a8");
  Fail("the context has room for 4",
       {"run", model, "-p", "The river runs through three towns", "--context", "4"});
  const Result full =
      Succeed({"run", model, "-p", "The", "--temperature", "0", "-n", "500", "--context", "16"});
  EXPECT_NE(full.err.find("the context of 16 tokens is full"), std::string::npos);
}

TEST(Cli, ChatsLineByLine) {
  const std::string model = Tiny("tiny-llama-w4a8");
  const Result once = Succeed(Greedy({"run", model, "--chat", "-p", "Hi"}));
  const Result piped = Succeed(Greedy({"run", model, "--chat"}), "Hi\n\n/exit\nnot read\n");
  EXPECT_EQ(once.out, piped.out);
  const Result reset = Succeed(Greedy({"run", model, "--chat"}), "Hi\n/reset\nHi\n");
  EXPECT_EQ(reset.out, once.out + once.out);
}

TEST(Cli, PerplexityAsJson) {
  const TempFolder folder;
  std::string text;
  for (int i = 0; i < 40; ++i) text += "The river runs through three towns to the sea.\n";
  const std::string file = folder.Write("text", text), model = Tiny("tiny-llama-w4a8");
  const auto measure = [&](const char* threads) {
    return Succeed({"perplexity", model, "--text", file, "--context", "64", "--tokens", "200",
                    "--json", "--threads", threads})
        .out;
  };
  const Json json = ParseJson(measure("1"), "perplexity");
  EXPECT_GT(json["perplexity"], 1.0);
  EXPECT_GT(json["standard_error"], 0.0);
  EXPECT_EQ(json["tokens"], 200 - 4);  // windows of 64, 64, 64 and 8
  EXPECT_EQ(measure("1"), measure("2"));
  EXPECT_EQ(json["windows"], 4);
  Fail("absent", {"perplexity", model, "--text", folder / "absent"});
  Fail("empty", {"perplexity", model, "--text", folder.Write("empty", "")});
}

TEST(Cli, PerplexityAgainstAnotherModel) {
  const TempFolder folder;
  std::string text;
  for (int i = 0; i < 10; ++i) text += "The river runs through three towns to the sea.\n";
  const std::string file = folder.Write("text", text), model = Tiny("tiny-llama-w4a8");
  const auto measure = [&](const std::string& against, const std::vector<std::string>& more) {
    std::vector<std::string> args = {"perplexity", model,       "--text", file,    "--context",
                                     "64",         "--against", against,  "--json"};
    args.insert(args.end(), more.begin(), more.end());
    return ParseJson(Succeed(args).out, "perplexity");
  };
  const Json other = measure(Tiny("tiny-llama-f32"), {});
  EXPECT_GT(other["kl_divergence"], 0.0);
  EXPECT_GT(other["kl_divergence_standard_error"], 0.0);
  EXPECT_GT(other["perplexity_ratio_standard_error"], 0.0);
  const Json itself = measure(model, {});
  EXPECT_EQ(itself["kl_divergence"], 0.0);
  EXPECT_EQ(itself["top1_agreement"], 1.0);
  EXPECT_EQ(itself["perplexity_ratio"], 1.0);
  EXPECT_GT(measure(model, {"--against-kv", "f32"})["kl_divergence"], 0.0);
  EXPECT_EQ(measure(model, {"--kv", "f32", "--against-kv", "f32"})["kl_divergence"], 0.0);
  EXPECT_NE(Succeed({"perplexity", model, "--text", file, "--against", model})
                .out.find("same top-1 100.00 %"),
            std::string::npos);
  Fail("--against", {"perplexity", model, "--text", file, "--against-kv", "f32"});
  const Json counted = measure(model, {"--saturation", "--guard"});
  EXPECT_EQ(counted["saturation"].size(), 4u) << "layer 0 is static";
  EXPECT_GE(counted["saturation"][0]["tokens"], counted["saturation"][3]["tokens"]);
  EXPECT_NE(
      Succeed({"perplexity", model, "--text", file, "--saturation"}).out.find("4 static sites"),
      std::string::npos);
  EXPECT_GT(measure(model, {"--token-scales"})["kl_divergence"], 0.0);
  Fail("--kv", {"perplexity", model, "--text", file, "--kv", "f16"});
}

TEST(Cli, EvalAnswersQuestions) {
  const TempFolder folder;
  std::string text;
  for (int i = 0; i < 12; ++i) {
    text += fmt::format(
        R"({{"doc_id": {0}, "idx": 0, "label": {1}, "request": {{"context": "The {0}", "continuation": " river"}}}}
{{"doc_id": {0}, "idx": 1, "label": {1}, "request": {{"context": "The {0}", "continuation": " towns"}}}}
)",
        i, i % 2);
  }
  folder.Write("piqa.0shot.jsonl.gz", text);
  folder.Write("mmlu.0shot.jsonl.gz", text);
  const std::string model = Tiny("tiny-llama-w4a8"), data = folder.path().string();
  const auto run = [&](const std::vector<std::string>& more) {
    std::vector<std::string> args = {"eval", model, "--data", data, "--json"};
    args.insert(args.end(), more.begin(), more.end());
    return Succeed(args).out;
  };
  EXPECT_EQ(run({"--threads", "1"}), run({"--threads", "2"}));
  const Json all = ParseJson(run({"--against", Tiny("tiny-llama-f32")}), "eval");
  EXPECT_EQ(all["tasks"].size(), 2u) << "all that the folder has";
  EXPECT_EQ(all["tasks"]["piqa"]["documents"], 12);
  EXPECT_EQ(all["tasks"]["piqa"]["difference_ci95"].size(), 2u);
  EXPECT_TRUE(all["average"].contains("reference_score"));
  const Json some = ParseJson(
      run({"--tasks", "mmlu", "--limit", "5", "--details", folder / "details", "--against", model}),
      "eval");
  EXPECT_EQ(some["tasks"]["mmlu"]["documents"], 5);
  EXPECT_EQ(some["tasks"]["mmlu"]["difference"], 0.0);
  const std::string details = ReadFile(folder / "details");
  EXPECT_EQ(std::count(details.begin(), details.end(), '\n'), 10);
  const Json again = ParseJson(
      run({"--tasks", "mmlu", "--limit", "5", "--against-details", folder / "details"}), "eval");
  EXPECT_EQ(again["tasks"]["mmlu"]["reference_score"], some["tasks"]["mmlu"]["score"]);
  Fail("no answer to mmlu",
       {"eval", model, "--data", data, "--tasks", "mmlu", "--against-details", folder / "details"});
  EXPECT_NE(Succeed({"eval", model, "--data", data}).out.find("average"), std::string::npos);
  const std::string source = Tiny("tiny-llama-f32");
  for (const std::string form : {"float", "int8"}) {
    Succeed({"eval", source, "--data", data, "--activations", form, "--details", folder / form});
  }
  EXPECT_NE(ReadFile(folder / "float"), ReadFile(folder / "int8"));
  Fail("expected a task", {"eval", model, "--data", data, "--tasks", "piqa,boolq"});
  Fail("lambada.0shot.jsonl.gz", {"eval", model, "--data", data, "--tasks", "lambada"});
  Fail("fetch_data", {"eval", model, "--data", data, "--shots", "5"});
}

TEST(Cli, BenchNamesItsTests) {
  const std::string model = Tiny("tiny-llama-w4a8");
  const Json json = ParseJson(Succeed({"bench", "-p", "16,5", "-n", "4", "-b", "1,3", "-d", "7",
                                       "-r", "2", "-t", "1", "--json", "--profile", model})
                                  .out,
                              "bench");
  std::vector<std::string> names;
  for (const Json& row : json) {
    names.push_back(row["test"]);
    EXPECT_GT(row["tokens_per_second"], 0.0);
    EXPECT_GT(row["profile"]["parts"]["gate/up"], 0.0);
  }
  EXPECT_EQ(names, (std::vector<std::string>{"pp16 @ d7", "pp5 @ d7", "tg4 @ d7", "tg4 x3 @ d7"}));
  Fail("--prompt", {"bench", model, "-p", "16,x"});
  Fail("--csv", {"bench", model, "--json", "--csv"});
  Fail("positions", {"bench", model, "-p", "100000"});
  Fail("expected a test", {"bench", model, "-p", "0", "-n", "0"});
}

TEST(Cli, SaysSoWhenStandardOutputIsFull) {
  const TempFolder folder;
  const int in = open("/dev/null", O_RDONLY);
  EXPECT_EQ(Wait(Start({"--version"}, in, "/dev/full", folder / "err")), 1);
  EXPECT_NE(ReadFile(folder / "err").find("standard output"), std::string::npos);
  close(in);
}

TEST(Cli, InterruptAtThePromptEndsTheProgram) {
  const TempFolder folder;
  int pipe_ends[2];
  ASSERT_EQ(pipe(pipe_ends), 0);
  const pid_t child = Start(Greedy({"run", Tiny("tiny-llama-w4a8"), "--chat"}), pipe_ends[0],
                            folder / "out", folder / "err");
  close(pipe_ends[0]);
  ASSERT_EQ(write(pipe_ends[1], "Hi\n", 3), 3);
  // The answer's note on standard error: the program waits for the next line, or is just about to.
  while (ReadFile(folder / "err").find("stopped") == std::string::npos) usleep(1000);
  usleep(20000);
  kill(child, SIGINT);
  EXPECT_EQ(Wait(child), kInterruptedStatus);
  close(pipe_ends[1]);
}

TEST(Cli, ComparesRecipes) {
  const TempFolder folder;
  std::string text;
  for (int i = 0; i < 20; ++i) text += "The river runs through three towns to the sea. ";
  const std::string file = folder.Write("text.txt", text).string();
  const std::string output = folder / "out";
  Fail("no-such", {"compare", Tiny("tiny-llama-f32"), "-o", output, "--recipes", "no-such"});
  Succeed({"compare", Tiny("tiny-llama-f32"), "-o", output, "--text", file, "--recipes",
           "rtn,w8a8,w4a16", "--metrics", "perplexity,kld"});
  const Json rows = ReadJsonFile(folder / "out/compare.json")["rows"];
  ASSERT_EQ(rows.size(), 4u);
  EXPECT_EQ(rows[0]["recipe"], "source");
  const auto kl = [&](size_t row) { return rows[row]["kl_divergence"].get<double>(); };
  // 4 bits lose more than 8, by far.
  EXPECT_GT(kl(1), 10 * kl(2));
  EXPECT_GT(kl(3), 10 * kl(2));
  EXPECT_GT(kl(2), 0);
  // lm_head and the KV cache are int8 too, and the text is short.
  EXPECT_NEAR(rows[2]["perplexity_ratio"].get<double>(), 1, 0.03);
  EXPECT_EQ(rows[2]["settings"]["weight_bits"], 8);
  // The models are not kept.
  EXPECT_FALSE(std::filesystem::exists(folder / "out/rtn"));
  EXPECT_TRUE(std::filesystem::exists(folder / "out/compare.md"));
}

// Text for the tests that compare.
std::string TownsText(const TempFolder& folder) {
  std::string text;
  for (int i = 0; i < 20; ++i) text += "The river runs through three towns to the sea. ";
  return folder.Write("text.txt", text).string();
}

std::map<std::string, std::string> FilesBelow(const std::filesystem::path& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    files[entry.path().string()] = entry.is_regular_file() ? ReadFile(entry.path()) : "";
  }
  return files;
}

// As Fail, and nothing in `folder` has changed.
void FailAndTouchNothing(const TempFolder& folder, std::string_view part,
                         const std::vector<std::string>& args) {
  const auto before = FilesBelow(folder.path());
  Fail(part, args);
  EXPECT_EQ(FilesBelow(folder.path()), before) << part;
}

TEST(Cli, CompareRefusesFoldersThatItDidNotWrite) {
  const TempFolder folder;
  const std::string text = TownsText(folder), output = folder / "out";
  std::filesystem::create_directories(folder / "out/rtn");
  folder.Write("out/rtn/mine", "precious");
  const auto refused = [&](const char* part, const std::string& recipes,
                           const std::vector<std::string>& more = {}) {
    std::vector<std::string> args = {"compare",   Tiny("tiny-llama-f32"),
                                     "-o",        output,
                                     "--text",    text,
                                     "--recipes", recipes,
                                     "--tokens",  "64",
                                     "--context", "32"};
    args.insert(args.end(), more.begin(), more.end());
    FailAndTouchNothing(folder, part, args);
  };
  refused("out/rtn: expected a folder that fptq wrote", "rtn");
  refused("out/rtn: expected a folder that fptq wrote", "w8a8,rtn");
  refused("out/rtn: already exists", "w8a8,rtn", {"--keep"});
  refused("out/rtn: expected a folder that fptq wrote", "w8a8,rtn", {"--keep", "--force"});
  refused("no-such", "w8a8,no-such");

  // Recipes that would be kept as one folder, or as something that is no folder of their own.
  for (const char* name : {"a", "b"}) {
    std::filesystem::create_directory(folder / name);
    folder.Write(std::string(name) + "/x.json", R"({"rounding": "rtn"})");
  }
  const std::string a = folder / "a/x.json", b = folder / "b/x.json";
  refused("cannot be kept as", a + "," + b, {"--keep"});
  for (const char* name : {"x.partial.json", "compare.md.json", "compare.json.json"}) {
    const std::string other = folder.Write(name, "{}");
    refused("cannot be kept as", other + "," + a, {"--keep"});
  }
  for (const char* name : {"..json", "...json"}) {  // "." and ".." are their stems
    refused("whose name can be that of a folder", folder.Write(name, "{}"));
  }

  // Results of somebody else, and an input as the result.
  folder.Write("out/compare.json", "{}");
  refused("is not of an earlier run", "w8a8");
  std::filesystem::remove(folder / "out/compare.json");
  folder.Write("out/compare.md", "mine");
  refused("is not of an earlier run", "w8a8");
  FailAndTouchNothing(
      folder, "other than what is read",
      {"compare", Tiny("tiny-llama-f32"), "-o", output, "--text", folder / "out/compare.md"});
}

TEST(Cli, CompareKeepsAndReplacesItsModels) {
  const TempFolder folder;
  const std::string text = TownsText(folder), output = folder / "out";
  for (const char* name : {"a", "b"}) {
    std::filesystem::create_directory(folder / name);
    folder.Write(std::string(name) + "/x.json", R"({"rounding": "rtn"})");
  }
  const auto args = [&](const std::string& recipes, const std::vector<std::string>& more) {
    std::vector<std::string> all = {"compare",   Tiny("tiny-llama-f32"),
                                    "-o",        output,
                                    "--text",    text,
                                    "--recipes", recipes,
                                    "--tokens",  "64",
                                    "--context", "32"};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  };
  const std::string a = folder / "a/x.json", b = folder / "b/x.json";
  Succeed(args(a + "," + b, {}));  // one after the other
  EXPECT_EQ(ReadJsonFile(folder / "out/compare.json")["rows"].size(), 3u);
  EXPECT_FALSE(std::filesystem::exists(folder / "out/x"));
  Succeed(args(a, {"--keep"}));
  Succeed({"inspect", folder / "out/x"});
  const auto kept = FilesBelow(folder / "out/x");
  FailAndTouchNothing(folder, "x: already exists", args(a, {"--keep"}));
  Succeed(args(b, {}));  // leaves the one that was kept alone
  EXPECT_EQ(FilesBelow(folder / "out/x"), kept);
  folder.Write("a/x.json", R"({"rounding": "weighted"})");
  Succeed(args(a, {"--keep", "--force"}));
  EXPECT_EQ(ReadJsonFile(folder / "out/x/fptq.json")["recipe"]["rounding"], "weighted");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder / "out"), {}), 3);
}

TEST(Cli, InterruptedCompareKeepsItsRows) {
  const TempFolder folder;
  const std::string text = TownsText(folder);
  // So many tokens of calibration take many seconds.
  const std::string slow = folder.Write("slow.json", R"({"calibration_tokens": 1000000})");
  const int in = open("/dev/null", O_RDONLY);
  const pid_t child = Start({"compare", Tiny("tiny-llama-f32"), "-o", folder / "out", "--text",
                             text, "--recipes", "rtn," + slow},
                            in, folder / "stdout", folder / "stderr");
  close(in);
  const auto rows = [&] {
    const std::filesystem::path path = folder / "out/compare.json";
    return std::filesystem::exists(path) ? ReadJsonFile(path)["rows"].size() : 0;
  };
  while (rows() < 2) usleep(1000);
  kill(child, SIGINT);
  EXPECT_EQ(Wait(child), kInterruptedStatus);
  EXPECT_EQ(rows(), 2u);
  EXPECT_EQ(ReadJsonFile(folder / "out/compare.json")["complete"], false);
  EXPECT_NE(ReadFile(folder / "out/compare.md").find("Incomplete: 2 of 3 rows"), std::string::npos);
  EXPECT_NE(ReadFile(folder / "stderr").find("what was measured is in"), std::string::npos);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder / "out"), {}), 2);

  // A recipe that fails, too.
  const std::string bad = folder.Write("bad.json", R"({"calibration": "no-such-file"})");
  Fail("no-such-file", {"compare", Tiny("tiny-llama-f32"), "-o", folder / "out", "--text", text,
                        "--recipes", "w8a8," + bad});
  EXPECT_EQ(rows(), 2u);
  EXPECT_EQ(ReadJsonFile(folder / "out/compare.json")["rows"][1]["recipe"], "w8a8");
  Succeed({"compare", Tiny("tiny-llama-f32"), "-o", folder / "out", "--text", text, "--recipes",
           "w8a8"});
  EXPECT_EQ(ReadJsonFile(folder / "out/compare.json")["complete"], true);
}

TEST(Cli, QuantizeReplacesOnlyWhatItWrote) {
  const TempFolder folder;
  std::filesystem::create_directory(folder / "models");
  std::filesystem::copy(Tiny("tiny-llama-gguf/model.gguf"), folder / "models/src.gguf");
  folder.Write("models/mine", "precious");
  const auto args = [&](const std::string& source, const std::string& output) {
    return std::vector<std::string>{"quantize", source,          "-o",     output,
                                    "--force",  "--calibration", "random", "--calibration-tokens",
                                    "64",       "--rounding",    "rtn",    "--policy",
                                    "dynamic"};
  };
  FailAndTouchNothing(folder, "other than the source",
                      args(folder / "models/src.gguf", folder / "models"));
  FailAndTouchNothing(folder, "found 'mine' in it",
                      args(Tiny("tiny-llama-f32"), folder / "models"));
  // From within, where the source and the output have short names.
  const std::filesystem::path here = std::filesystem::current_path();
  std::filesystem::current_path(folder / "models");
  for (const char* output : {".", "../models", "../models/", "../models/."}) {
    FailAndTouchNothing(folder, "other than the source", args("src.gguf", output));
  }
  std::filesystem::current_path(here);
}

TEST(Cli, OutputFilesAreCheckedFirst) {
  const TempFolder folder;
  const std::string text = TownsText(folder), model = folder / "model";
  Succeed({"quantize", Tiny("tiny-llama-f32"), "-o", model, "--calibration", "random",
           "--calibration-tokens", "64", "--rounding", "rtn", "--policy", "dynamic"});
  folder.Write(
      "piqa.0shot.jsonl.gz",
      R"({"doc_id": 0, "idx": 0, "label": 0, "request": {"context": "The", "continuation": " river"}}
{"doc_id": 0, "idx": 1, "label": 0, "request": {"context": "The", "continuation": " towns"}}
)");
  folder.Write("old", "precious");
  // There is no such model: what is wrong with the output is said before that is looked at.
  for (const std::string& output : {(folder / "old").string(), std::string("/dev/null")}) {
    FailAndTouchNothing(folder, "cannot create: it exists",
                        {"eval", "no-such", "--data", folder.path(), "--details", output});
    FailAndTouchNothing(folder, "cannot create: it exists",
                        {"perplexity", "no-such", "--text", text, "--logits", output});
  }
  FailAndTouchNothing(
      folder, "no/details: cannot create",
      {"eval", "no-such", "--data", folder.path(), "--details", folder / "no/details"});
  FailAndTouchNothing(folder, "cannot create",
                      {"report", "no-such", "-o", folder / "no/page.html"});

  // The page of a report, and the JSON beside it.
  const std::string page = folder / "page.html";
  Succeed({"report", model, "-o", page});
  Succeed({"report", model, "-o", page});
  for (const char* name : {"package.json", "index.html"}) {
    folder.Write(name, "{}");
    const std::string output = (folder / name).replace_extension(".html");
    FailAndTouchNothing(folder, "is not of an earlier run", {"report", model, "-o", output});
  }
  for (const char* output : {"model/fptq.html", "model/config.html", "model/model.safetensors"}) {
    FailAndTouchNothing(folder, "is not of an earlier run",
                        {"report", model, "-o", folder / output});
  }
  Succeed({"report", model, "-o", folder / "model/page.html"});
  Succeed({"report", model, "-o", folder / "model/page.html"});
  FailAndTouchNothing(
      folder, "other than what is read",
      {"report", model, "-o", page, "--against", Tiny("tiny-llama-f32"), "--text", page});
}

TEST(Cli, InterruptedPerplexityLeavesNoLogits) {
  const TempFolder folder;
  std::string text;
  for (int i = 0; i < 20000; ++i) text += "The river runs through three towns to the sea. ";
  folder.Write("text", text);
  std::filesystem::create_directory(folder / "out");
  const int in = open("/dev/null", O_RDONLY);
  const pid_t child = Start({"perplexity", Tiny("tiny-llama-w4a8"), "--text", folder / "text",
                             "--logits", folder / "out/logits"},
                            in, folder / "stdout", folder / "stderr");
  close(in);
  while (std::filesystem::is_empty(folder / "out")) usleep(1000);
  kill(child, SIGINT);
  EXPECT_EQ(Wait(child), kInterruptedStatus);
  EXPECT_TRUE(std::filesystem::is_empty(folder / "out"));
}

TEST(Cli, InterruptedQuantizeLeavesNothing) {
  const TempFolder folder;
  std::filesystem::create_directory(folder / "output");
  const int in = open("/dev/null", O_RDONLY);
  // So many tokens take many seconds; it is interrupted while it calibrates.
  const pid_t child = Start({"quantize", Tiny("tiny-llama-f32"), "-o", folder / "output/model",
                             "--calibration-tokens", "1000000"},
                            in, folder / "out", folder / "err");
  usleep(200000);
  kill(child, SIGINT);
  EXPECT_EQ(Wait(child), kInterruptedStatus);
  EXPECT_TRUE(std::filesystem::is_empty(folder / "output"));
  close(in);
}

TEST(Cli, DryRunWritesNothing) {
  const TempFolder folder;
  const Result result =
      Succeed({"quantize", Tiny("tiny-llama-f32"), "-o", folder / "model", "--dry-run"});
  EXPECT_TRUE(result.out.starts_with("forecast ")) << result.out;
  EXPECT_EQ(std::ranges::count(result.out, '\n'), 1);
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(Cli, InterruptedQuantizeGoesOn) {
  const TempFolder folder;
  const int in = open("/dev/null", O_RDONLY);
  const std::vector<std::string> command = {
      "quantize", Tiny("tiny-llama-f32"), "-o",   folder / "model", "--calibration",
      "random",   "--calibration-tokens", "60000"};
  const pid_t child = Start(command, in, folder / "out", folder / "err");
  // The journal's third line is the first layer.
  const auto lines = [&] {
    return std::ranges::count(ReadFile(folder / "model.partial/journal"), '\n');
  };
  while (lines() < 3) usleep(1000);
  kill(child, SIGINT);
  ASSERT_EQ(Wait(child), kInterruptedStatus);
  close(in);
  EXPECT_NE(ReadFile(folder / "err").find("the same command goes on"), std::string::npos);
  EXPECT_FALSE(std::filesystem::exists(folder / "model"));
  EXPECT_NE(Succeed(command).out.find("resumed  after"), std::string::npos);
  EXPECT_FALSE(std::filesystem::exists(folder / "model.partial"));
}

}  // namespace
}  // namespace fptq
