#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <fstream>

#include "base/build.h"
#include "base/error.h"
#include "base/json.h"
#include "cli/arguments.h"
#include "cli/load.h"
#include "cli/progress_bar.h"
#include "cli/subcommands.h"
#include "cli/terminal.h"
#include "engine/benchmark.h"
#include "kernels/dispatch.h"
#include "machine/limits.h"

namespace fptq {
namespace {

struct Options {
  std::string path, pre_tokenizer;
  FloatForm form = FloatForm::kFloat32;
  std::vector<int64_t> prompts = {512}, generated = {128}, depths = {0}, sequences = {1};
  std::vector<int> threads = {UsableCores()};
  int64_t repetitions = 5;
  bool json = false, csv = false, markdown = false, profile = false;
};

void AddOptions(CLI::App& app, Options& options) {
  const auto list = [&](const char* names, auto& values, const char* help, int64_t min,
                        int64_t max) {
    app.add_option(names, values, help)
        ->delimiter(',')
        ->allow_extra_args(false)
        ->check(Between(min, max));
  };
  app.add_option("MODEL", options.path,
                 "quantized folder, or float model: Hugging Face folder or GGUF file")
      ->required();
  AddPreTokenizer(app, options.pre_tokenizer);
  AddActivations(app, options.form);
  list("-p,--prompt", options.prompts, "tokens of the prompt (default 512; 0: no such test)", 0,
       kAnyCount);
  list("-n,--generate", options.generated, "tokens to generate (default 128; 0: no such test)", 0,
       kAnyCount);
  list("-d,--depth", options.depths, "tokens in the KV cache before (default 0)", 0, kAnyCount);
  list("-b,--sequences", options.sequences, "sequences that generate together (default 1)", 1,
       1024);
  list("-t,--threads", options.threads, "threads to compute with (default the cores)", 1, 1024);
  app.add_option("-r,--repetitions", options.repetitions, "timed runs of each test (default 5)")
      ->check(Between(int64_t{1}, kAnyCount));
  auto* json = app.add_flag("--json", options.json, "print a JSON list of objects");
  auto* csv = app.add_flag("--csv", options.csv, "print comma-separated values")->excludes(json);
  app.add_flag("--md", options.markdown, "print a Markdown table")->excludes(json)->excludes(csv);
  app.add_flag(
      "--profile", options.profile,
      "also show the time of the parts of a step, and of drawing a token for each sequence");
}

std::vector<BenchmarkCase> Cases(const Options& options) {
  std::vector<BenchmarkCase> cases;
  for (const int64_t depth : options.depths) {
    for (const int64_t tokens : options.prompts) {
      if (tokens > 0) {
        cases.push_back({.phase = BenchmarkPhase::kPrefill, .tokens = tokens, .depth = depth});
      }
    }
    for (const int64_t sequences : options.sequences) {
      for (const int64_t tokens : options.generated) {
        if (tokens == 0) continue;
        cases.push_back({.phase = BenchmarkPhase::kDecode,
                         .tokens = tokens,
                         .depth = depth,
                         .sequences = sequences});
      }
    }
  }
  return cases;
}

// Pages of this process in memory, those of mapped files included.
int64_t ResidentBytes() {
  int64_t total = 0, resident = 0;
  std::ifstream("/proc/self/statm") >> total >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

// Microseconds of a step.
Json DescribeProfile(const BenchmarkProfile& profile) {
  const auto microseconds = [&](double seconds) {
    return 1e6 * seconds / static_cast<double>(profile.steps);
  };
  Json parts;
  for (size_t i = 0; i < kForwardPartNames.size(); ++i) {
    const double seconds = profile.parts.seconds[i];
    if (seconds > 0) parts[std::string(kForwardPartNames[i])] = microseconds(seconds);
  }
  if (profile.sampling_seconds > 0) parts["sampling"] = microseconds(profile.sampling_seconds);
  return {{"parts", parts}, {"waiting", microseconds(profile.waiting_seconds)}};
}

Json RunCase(const Model& model, const BenchmarkCase& test, const MachinePeaks& peaks,
             const Options& options, ThreadPool& pool) {
  BenchmarkProfile profile;
  const BenchmarkResult result =
      RunBenchmark(model, test, options.repetitions, pool, options.profile ? &profile : nullptr);
  const double read = result.bytes / result.seconds, ops = result.operations / result.seconds;
  Json row = {{"test", test.Name()},
              {"tokens_per_second", result.mean},
              {"stddev", result.standard_deviation},
              {"repetitions", options.repetitions},
              {"tokens", test.tokens},
              {"depth", test.depth},
              {"sequences", test.sequences},
              {"threads", pool.threads()},
              {"gb_per_second", 1e-9 * read},
              {"gops", 1e-9 * ops},
              {"bandwidth_share", read / peaks.read_bytes},
              {"int8_peak_share", ops / peaks.int8_ops},
              {"kv_bytes", result.kv_bytes}};
  if (options.profile) row["profile"] = DescribeProfile(profile);
  return row;
}

Json MeasureCases(const std::vector<BenchmarkCase>& cases, const Options& options) {
  std::shared_ptr<const Model> model;
  Json results = Json::array();
  double load_seconds = 0;
  const int64_t total = std::ssize(cases) * std::ssize(options.threads);
  ProgressBar bar;
  for (const int threads : options.threads) {
    ThreadPool pool(threads);
    const MachinePeaks peaks = MeasurePeaks(pool);
    if (model == nullptr) {
      const auto start = std::chrono::steady_clock::now();
      model = LoadModelAndWarn(Locate(options.path, options.pre_tokenizer), pool, options.form);
      load_seconds =
          std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    }
    for (const BenchmarkCase& test : cases) {
      bar.Update("measuring", std::ssize(results), total);
      Json row = RunCase(*model, test, peaks, options, pool);
      row.update({{"int8_peak_gops", 1e-9 * peaks.int8_ops},
                  {"read_peak_gb_per_second", 1e-9 * peaks.read_bytes},
                  {"isa", Kernels().name},
                  {"commit", kCommit},
                  {"model", options.path},
                  {"quantized", model->quantized()},
                  {"weight_bytes", model->WeightBytes()},
                  {"resident_bytes", ResidentBytes()},
                  {"load_seconds", load_seconds}});
      results.push_back(std::move(row));
    }
  }
  return results;
}

// The columns that people read.
std::vector<std::vector<std::string>> TableRows(const Json& results) {
  std::vector<std::vector<std::string>> rows = {
      {"threads", "test", "tokens/s", "+-", "GB/s", "of peak", "GOPS", "of int8 peak"}};
  const auto number = [](const Json& value, int digits) {
    return fmt::format("{:.{}f}", value.get<double>(), digits);
  };
  const auto percent = [](const Json& value) {
    return fmt::format("{:.0f} %", 100 * value.get<double>());
  };
  for (const Json& row : results) {
    rows.push_back({fmt::format("{}", row["threads"].get<int>()), row["test"].get<std::string>(),
                    number(row["tokens_per_second"], 1), number(row["stddev"], 1),
                    number(row["gb_per_second"], 1), percent(row["bandwidth_share"]),
                    number(row["gops"], 0), percent(row["int8_peak_share"])});
  }
  return rows;
}

void PrintHeadline(const Json& row) {
  Print(fmt::format(
      "{}: {} of weights, loaded in {:.2f} s, {} resident; fptq {} ({}), peaks with --threads {}: "
      "{:.0f} GOPS in int8, {:.1f} GB/s\n\n",
      row["model"].get<std::string>(), FormatBytes(row["weight_bytes"].get<int64_t>()),
      row["load_seconds"].get<double>(), FormatBytes(row["resident_bytes"].get<int64_t>()),
      row["commit"].get<std::string>(), row["isa"].get<std::string>(), row["threads"].get<int>(),
      row["int8_peak_gops"].get<double>(), row["read_peak_gb_per_second"].get<double>()));
}

void PrintMarkdown(const std::vector<std::vector<std::string>>& rows) {
  for (size_t i = 0; i < rows.size(); ++i) {
    Print(fmt::format("| {} |\n", fmt::join(rows[i], " | ")));
    if (i > 0) continue;
    std::string line = "|";
    for (const std::string& name : rows[0]) line += name == "test" ? "---|" : "---:|";
    Print(line + "\n");
  }
}

void PrintCsv(const Json& results) {
  const auto line = [](const Json& row, auto cell) {
    std::string text;
    for (const auto& [name, value] : row.items()) {
      if (!value.is_object())
        text += fmt::format("{}{}", text.empty() ? "" : ",", cell(name, value));
    }
    Print(text + "\n");
  };
  line(results[0], [](const std::string& name, const Json&) { return name; });
  // Names and text are quoted as JSON does, which CSV readers take as long as there is no quote.
  for (const Json& row : results)
    line(row, [](const std::string&, const Json& value) { return DumpJson(value); });
}

void PrintProfile(const Json& row) {
  const Json& profile = row["profile"];
  double total = 0;
  for (const auto& [part, us] : profile["parts"].items()) total += us.get<double>();
  std::vector<std::vector<std::string>> rows = {{row["test"].get<std::string>(), "us/step", "%"}};
  const auto add = [&](const std::string& part, double us) {
    rows.push_back({part, fmt::format("{:.1f}", us), fmt::format("{:.1f}", 100 * us / total)});
  };
  for (const auto& [part, us] : profile["parts"].items()) add(part, us.get<double>());
  add("all", total);
  add("of it waiting in barriers", profile["waiting"].get<double>());
  Print("\n");
  PrintTable(rows, "lrr");
}

void PrintResults(const Json& results, const Options& options) {
  if (options.json) return Print(DumpJson(results, 2) + "\n");
  if (options.csv) return PrintCsv(results);
  PrintHeadline(results[0]);
  if (options.markdown) {
    PrintMarkdown(TableRows(results));
  } else {
    PrintTable(TableRows(results), "rlrrrrrr");
  }
  if (!options.profile) return;
  for (const Json& row : results) PrintProfile(row);
}

}  // namespace

int RunBench(int argc, char** argv) {
  CLI::App app("Measures the speed of prefill and decode, as llama-bench names them.",
               "fptq bench");
  Options options;
  AddOptions(app, options);
  if (!ParseArguments(app, argc, argv)) return 0;
  const std::vector<BenchmarkCase> cases = Cases(options);
  if (cases.empty()) throw Error("bench: expected a test, found -p 0 and -n 0");

  PrintResults(MeasureCases(cases, options), options);
  return 0;
}

}  // namespace fptq
