#include "eval/perplexity.h"

#include <fmt/format.h>

#include <cmath>
#include <optional>

#include "base/atomic_write.h"
#include "base/error.h"
#include "base/mapped_file.h"
#include "cli/arguments.h"
#include "cli/progress_bar.h"
#include "cli/subcommands.h"
#include "cli/terminal.h"
#include "eval/divergence.h"

namespace fptq {
namespace {

constexpr int64_t kDefaultContext = 1024;

struct Arguments {
  std::string path, text, against, logits;
  std::optional<KvType> kv, against_kv;
  int64_t context = 0, limit = 0;
  bool json = false;
  int threads = 1;
};

bool Parse(int argc, char** argv, Arguments& args) {
  CLI::App app("Measures the perplexity of a text in windows that do not overlap.",
               "fptq perplexity");
  app.add_option("MODEL", args.path,
                 "quantized folder, or float model: Hugging Face folder or GGUF file")
      ->required();
  app.add_option("--text", args.text, "UTF-8 text to predict")->required();
  app.add_option("--context", args.context,
                 "tokens of a window (default 1024, or less if the model has less)")
      ->check(Between(int64_t{2}, kAnyCount));
  app.add_option("--tokens", args.limit, "use only the first N tokens of the text")
      ->check(Between(int64_t{1}, kAnyCount));
  auto* against = app.add_option("--against", args.against,
                                 "also run this model, usually the float one, and report how far "
                                 "MODEL's predictions are from its");
  AddKvType(app, "--kv", args.kv, "KV cache of MODEL");
  AddKvType(app, "--against-kv", args.against_kv, "KV cache of the other model")->needs(against);
  app.add_option("--logits", args.logits,
                 "also write the logits of the scored tokens to this file: float32 [tokens, vocab]")
      ->excludes(against);
  app.add_flag("--json", args.json, "print one JSON object");
  AddThreads(app, args.threads);
  return ParseArguments(app, argc, argv);
}

std::vector<int32_t> ReadTokens(const Tokenizer& tokenizer, const std::string& path,
                                int64_t limit) {
  const MappedFile file(path);
  const std::string_view text(reinterpret_cast<const char*>(file.bytes().data()),
                              file.bytes().size());
  auto tokens = tokenizer.Encode(text, {.parse_special = false, .add_special_tokens = false});
  if (limit > 0 && limit < std::ssize(tokens)) tokens.resize(static_cast<size_t>(limit));
  return tokens;
}

PerplexityResult Measure(const Arguments& args, const Model& model, std::span<const int32_t> tokens,
                         int64_t context, ThreadPool& pool) {
  PerplexityOptions options{.context = context, .kv_type = args.kv};
  std::optional<OutputFile> logits_file;
  if (!args.logits.empty()) {
    logits_file.emplace(args.logits);
    options.on_logits = [&](std::span<const float> logits) {
      logits_file->Write(std::as_bytes(logits));
    };
  }
  PerplexityResult result;
  {
    ProgressBar bar;
    result = MeasurePerplexity(model, tokens, TextPrefix(model.tokenizer), options, pool,
                               bar.AsProgress());
  }
  if (logits_file) logits_file->Close();
  return result;
}

Divergence MeasureAgainst(const Arguments& args, const Model& model,
                          std::span<const int32_t> tokens, int64_t context, ThreadPool& pool) {
  std::shared_ptr<const Model> other;  // unless it is the same one, for --against-kv
  if (!std::filesystem::equivalent(args.path, args.against)) other = LoadModel(args.against, pool);
  const Model& reference = other ? *other : model;
  const auto prefix = TextPrefix(model.tokenizer);
  if (TextPrefix(reference.tokenizer) != prefix ||
      !std::ranges::equal(ReadTokens(reference.tokenizer, args.text, args.limit), tokens)) {
    throw Error("--against: {} and {} do not split the text into the same tokens", args.path,
                args.against);
  }
  ChooseContext(context, context, reference.config());  // it has as many positions
  ProgressBar bar;
  return MeasureDivergence(
      model, reference, tokens, prefix,
      {.context = context, .kv_type = args.kv, .reference_kv_type = args.against_kv}, pool,
      bar.AsProgress());
}

Json Describe(const PerplexityResult& result, int64_t context) {
  return {{"perplexity", result.perplexity},
          {"standard_error", result.standard_error},
          {"nll", result.nll.mean},
          {"nll_standard_error", result.nll.standard_error},
          {"tokens", result.tokens},
          {"windows", result.windows},
          {"context", context}};
}

Json Describe(const Divergence& d, int64_t context) {
  Json json = Describe(d.model, context);
  json.update({{"reference_perplexity", d.reference.perplexity},
               {"reference_standard_error", d.reference.standard_error},
               {"perplexity_ratio", d.ratio.mean},
               {"perplexity_ratio_standard_error", d.ratio.standard_error},
               {"nll_difference", d.nll_difference.mean},
               {"nll_difference_standard_error", d.nll_difference.standard_error},
               {"kl_divergence", d.kl.mean},
               {"kl_divergence_standard_error", d.kl.standard_error},
               {"kl_divergence_median", d.kl_median},
               {"kl_divergence_p90", d.kl_p90},
               {"kl_divergence_p99", d.kl_p99},
               {"kl_divergence_max", d.kl_max},
               {"top1_agreement", d.top1.mean},
               {"top1_agreement_standard_error", d.top1.standard_error}});
  return json;
}

std::string Format(const Estimate& estimate, int digits = 4) {
  if (std::isnan(estimate.standard_error)) return fmt::format("{:.{}f}", estimate.mean, digits);
  return fmt::format("{:.{}f} +- {:.{}f}", estimate.mean, digits, estimate.standard_error, digits);
}

std::string Format(const PerplexityResult& result) {
  return Format({.mean = result.perplexity, .standard_error = result.standard_error});
}

void PrintResult(const PerplexityResult& result, int64_t context) {
  Print(fmt::format("perplexity {} over {} tokens in {} windows of {}\n", Format(result),
                    result.tokens, result.windows, context));
}

void PrintResult(const Divergence& d, int64_t context) {
  PrintResult(d.model, context);
  Print(fmt::format(
      "reference  {}\n"
      "ratio      {}\n"
      "nll        {} more than the reference\n"
      "KL         {}; median {:.4f}, 90 % {:.4f}, 99 % {:.4f}, maximum {:.4f}\n"
      "same top-1 {} %\n",
      Format(d.reference), Format(d.ratio), Format(d.nll_difference), Format(d.kl), d.kl_median,
      d.kl_p90, d.kl_p99, d.kl_max,
      Format({.mean = 100 * d.top1.mean, .standard_error = 100 * d.top1.standard_error}, 2)));
}

}  // namespace

int RunPerplexity(int argc, char** argv) {
  Arguments args;
  if (!Parse(argc, argv, args)) return 0;
  ThreadPool pool(args.threads);
  const auto model = LoadModel(args.path, pool);
  const auto tokens = ReadTokens(model->tokenizer, args.text, args.limit);
  const int64_t context = ChooseContext(args.context, kDefaultContext, model->config());
  const auto show = [&](const auto& result) {
    if (args.json) {
      Print(Describe(result, context).dump() + "\n");
    } else {
      PrintResult(result, context);
    }
  };
  if (args.against.empty()) {
    show(Measure(args, *model, tokens, context, pool));
  } else {
    show(MeasureAgainst(args, *model, tokens, context, pool));
  }
  return 0;
}

}  // namespace fptq
