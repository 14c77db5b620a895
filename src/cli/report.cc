#include <fmt/format.h>

#include <cmath>
#include <filesystem>

#include "base/error.h"
#include "base/utf8.h"
#include "cli/arguments.h"
#include "cli/load.h"
#include "cli/progress_bar.h"
#include "cli/result_files.h"
#include "cli/subcommands.h"
#include "cli/terminal.h"
#include "eval/divergence.h"
#include "eval/sensitivity.h"
#include "eval/text_tokens.h"
#include "files/json_file.h"
#include "files/text_file.h"
#include "report/report_page.h"

namespace fptq {
namespace {

namespace fs = std::filesystem;

struct Arguments {
  std::string model, output, source, pre_tokenizer, text;
  int64_t tokens = 8192, sensitivity_tokens = 1024;
  int threads = 1;
};

bool Parse(int argc, char** argv, Arguments& args) {
  CLI::App app(
      "Writes a page that explains a quantized model: one HTML file that needs no network, and its "
      "figures as JSON beside it.",
      "fptq report");
  app.add_option("DIR", args.model, "folder made by fptq quantize")->required();
  app.add_option("-o,--output", args.output, "HTML file to write")->required();
  auto* source = app.add_option("--against", args.source,
                                "the float model that DIR came from: also measures quality and the "
                                "sensitivity of each layer");
  AddPreTokenizer(app, args.pre_tokenizer);
  auto* text = app.add_option("--text", args.text, "UTF-8 text to measure on")->needs(source);
  source->needs(text);
  app.add_option("--tokens", args.tokens, "of the text, for quality (default 8192)")
      ->check(Between(int64_t{2}, kAnyCount));
  app.add_option("--sensitivity-tokens", args.sensitivity_tokens,
                 "of the text, for sensitivity (default 1024)")
      ->check(Between(int64_t{2}, kAnyCount));
  AddThreads(app, args.threads);
  return ParseArguments(app, argc, argv);
}

std::span<const int32_t> First(std::span<const int32_t> tokens, int64_t count) {
  return tokens.first(std::min(tokens.size(), static_cast<size_t>(count)));
}

// For people: the path's last name, as UTF-8.
std::string FileName(const fs::path& path) {
  const fs::path normal = path.lexically_normal();
  return ReplaceIllFormedUtf8(
      (normal.has_filename() ? normal : normal.parent_path()).filename().string());
}

std::string Show(double value, double error, int digits) {
  const std::string shown = fmt::format("{:.{}f}", value, digits);
  return std::isfinite(error) ? fmt::format("{} +- {:.{}f}", shown, error, digits) : shown;
}

// [name, value] pairs.
Json DescribeQuality(const Divergence& found, int64_t tokens, const std::string& text) {
  Json rows = Json::array();
  const auto add = [&](const char* name, std::string value) { rows.push_back({name, value}); };
  add("measured on", fmt::format("{} tokens of {}", tokens, FileName(text)));
  add("perplexity, float", fmt::format("{:.3f}", found.reference.perplexity));
  add("perplexity, quantized", fmt::format("{:.3f}", found.model.perplexity));
  add("ratio", Show(found.ratio.mean, found.ratio.standard_error, 4));
  add("KL divergence", Show(found.kl.mean, found.kl.standard_error, 4));
  add("same most likely token",
      Show(100 * found.top1.mean, 100 * found.top1.standard_error, 2) + " %");
  return rows;
}

void Measure(const Arguments& args, ThreadPool& pool, const Progress& progress, Json& report) {
  constexpr int64_t kSensitivityContext = 256;
  const auto model = LoadModelAndWarn(args.model, pool),
             source = LoadModelAndWarn(Locate(args.source, args.pre_tokenizer), pool);
  const std::vector<int32_t> tokens = TextTokens(model->tokenizer, TextFile(args.text).text());
  const std::span<const int32_t> prefix = model->tokenizer.prefix();
  DivergenceOptions options;
  options.context = ChooseContext(0, options.context, model->config());
  const auto quality_tokens = First(tokens, args.tokens);
  report["quality"] = DescribeQuality(
      MeasureDivergence(*model, *source, quality_tokens, prefix, options, pool, progress),
      std::ssize(quality_tokens), args.text);
  const auto sensitivity =
      MeasureSensitivity(*model, *source, First(tokens, args.sensitivity_tokens), prefix,
                         ChooseContext(0, kSensitivityContext, model->config()), pool, progress);
  report["sensitivity"] = Json::array();
  for (const Estimate& layer : sensitivity) {  // NaN becomes null
    report["sensitivity"].push_back({{"kl", layer.mean}, {"standard_error", layer.standard_error}});
  }
}

}  // namespace

int RunReport(int argc, char** argv) {
  Arguments args;
  if (!Parse(argc, argv, args)) return 0;
  fs::path json_path = args.output;
  json_path.replace_extension(".json");
  if (json_path == fs::path(args.output)) {
    throw Error("{}: expected an HTML file, found the name of the JSON file beside it",
                args.output);
  }
  const ResultFiles results = {.text = args.output, .json = json_path};
  CheckResultFiles(results, {{"format_version", "model", "quality"}},
                   {args.model, args.source, args.text});
  const fs::path where = fs::path(args.model) / "fptq.json";
  Json report = ReadJsonFile(where);
  JsonFields(report, where.string());  // Error unless it is an object
  report["model"] = FileName(args.model);
  report["quality"] = report["sensitivity"] = nullptr;
  ReportPage(report, where.string());  // complains before the long part
  if (!args.source.empty()) {
    ThreadPool pool(args.threads);
    ProgressBar bar;
    Measure(args, pool, bar.AsProgress(), report);
  }
  WriteResultFiles(results, ReportPage(report, where.string()), report);
  Print(fmt::format("written  {} and {}\n", args.output, json_path.string()));
  return 0;
}

}  // namespace fptq
