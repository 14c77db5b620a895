#include "eval/perplexity.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <optional>
#include <ranges>

#include "base/error.h"
#include "base/json.h"
#include "cli/arguments.h"
#include "cli/interrupt.h"
#include "cli/load.h"
#include "cli/progress_bar.h"
#include "cli/subcommands.h"
#include "cli/terminal.h"
#include "eval/divergence.h"
#include "eval/text_tokens.h"
#include "files/atomic_write.h"
#include "files/text_file.h"

namespace fptq {
namespace {

constexpr int64_t kDefaultContext = 1024;
constexpr double kSaturationLimit = 0.05;  // share of a site's tokens that is worth a warning
constexpr int64_t kSitesShown = 10;

struct Arguments {
  std::string path, text, against, pre_tokenizer, logits;
  FloatForm form = FloatForm::kFloat32;  // of `path`
  std::optional<KvType> kv, against_kv;
  int64_t context = 0, limit = 0, unscored = 1;
  bool saturation = false, guard = false, token_scales = false, json = false;
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
  app.add_option("--unscored", args.unscored,
                 "score no token of a window before this position, so that each has context "
                 "(default 1; llama-perplexity: half of a window, plus 1)")
      ->check(Between(int64_t{1}, kAnyCount));
  app.add_option("--tokens", args.limit, "use only the first N tokens of the text")
      ->check(Between(int64_t{1}, kAnyCount));
  auto* against = app.add_option("--against", args.against,
                                 "also run this model, usually the float one, and report how far "
                                 "MODEL's predictions are from its");
  AddPreTokenizer(app, args.pre_tokenizer);
  AddActivations(app, args.form);
  AddKvType(app, "--kv", args.kv, "KV cache of MODEL");
  AddKvType(app, "--against-kv", args.against_kv, "KV cache of the other model")->needs(against);
  app.add_flag(
      "--saturation", args.saturation,
      "also count the tokens whose activations a static scale of MODEL clamps, and warn of "
      "sites where they are more than 5 %");
  app.add_flag("--guard", args.guard,
               "give such tokens scales of their own at that site, as dynamic ones have");
  app.add_flag("--token-scales", args.token_scales,
               "give the activations of MODEL's dynamic sites one scale a token, as other engines "
               "do, rather than one a token and group of weights");
  app.add_option("--logits", args.logits,
                 "also write the logits of the scored tokens to this file: float32 [tokens, vocab]")
      ->excludes(against);
  app.add_flag("--json", args.json, "print one JSON object");
  AddThreads(app, args.threads);
  return ParseArguments(app, argc, argv);
}

// `logits` may be null.
PerplexityResult Measure(const Arguments& args, const Model& model, std::string_view text,
                         int64_t context, Saturation* saturation, OutputFile* logits,
                         const std::atomic<bool>* cancel, ThreadPool& pool) {
  PerplexityOptions options{.context = context,
                            .unscored = args.unscored,
                            .kv_type = args.kv,
                            .guard = args.guard,
                            .token_scales = args.token_scales,
                            .saturation = saturation};
  if (logits != nullptr) {
    options.on_logits = [&](std::span<const float> row) { logits->Write(std::as_bytes(row)); };
  }
  ProgressBar bar(cancel);
  return MeasurePerplexity(model, TextTokens(model.tokenizer, text, args.limit),
                           model.tokenizer.prefix(), options, pool, bar.AsProgress());
}

Divergence MeasureAgainst(const Arguments& args, const Model& model, std::string_view text,
                          int64_t context, Saturation* saturation, const std::atomic<bool>* cancel,
                          ThreadPool& pool) {
  std::shared_ptr<const Model> other;  // unless it is the same one, for --against-kv
  std::error_code missing;             // of which opening it tells
  if (!std::filesystem::equivalent(args.path, args.against, missing)) {
    other = LoadModelAndWarn(Locate(args.against, args.pre_tokenizer, args.path), pool);
  }
  const Model& reference = other ? *other : model;
  const auto tokens = CommonTokens({model, args.path}, {reference, args.against}, text, args.limit);
  ChooseContext(context, context, reference.config());  // it has as many positions
  ProgressBar bar(cancel);
  return MeasureDivergence(model, reference, tokens, model.tokenizer.prefix(),
                           {.context = context,
                            .unscored = args.unscored,
                            .kv_type = args.kv,
                            .reference_kv_type = args.against_kv,
                            .guard = args.guard,
                            .token_scales = args.token_scales,
                            .saturation = saturation},
                           pool, bar.AsProgress());
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
      "KL         {}; median {:.5f}, 90 % {:.5f}, 99 % {:.5f}, maximum {:.5f}\n"
      "same top-1 {} %\n",
      Format(d.reference), Format(d.ratio), Format(d.nll_difference), Format(d.kl, 5), d.kl_median,
      d.kl_p90, d.kl_p99, d.kl_max,
      Format({.mean = 100 * d.top1.mean, .standard_error = 100 * d.top1.standard_error}, 2)));
}

// A site with a static scale and how much of what it sees saturates.
struct SaturatedSite {
  int64_t layer;
  SiteId site;
  double tokens, activations;  // shares
};

// The static sites, most saturated first.
std::vector<SaturatedSite> StaticSites(const ModelConfig& config, Saturation& saturation) {
  const auto share = [](int64_t part, int64_t all) {
    return static_cast<double>(part) / static_cast<double>(all);
  };
  std::vector<SaturatedSite> sites;
  for (int64_t layer = 0; layer < config.layers; ++layer) {
    for (const SiteId& site : SitesOf(config, layer)) {
      const SiteSaturation& counts = saturation.at(config, layer, site);
      if (counts.rows == 0) continue;
      sites.push_back({layer, site, share(counts.saturated_rows, counts.rows),
                       share(counts.saturated_values, counts.values)});
    }
  }
  std::ranges::stable_sort(sites, std::greater(), &SaturatedSite::tokens);
  return sites;
}

Json Describe(const std::vector<SaturatedSite>& sites) {
  Json json = Json::array();
  for (const SaturatedSite& site : sites) {
    json.push_back({{"layer", site.layer},
                    {"site", SiteName(site.site)},
                    {"tokens", site.tokens},
                    {"activations", site.activations}});
  }
  return json;
}

void PrintResult(const std::vector<SaturatedSite>& sites) {
  std::vector<std::vector<std::string>> rows = {
      {"layer", "site", "tokens that saturate %", "activations %"}};
  const auto saturated =
      std::ranges::count_if(sites, [](const SaturatedSite& site) { return site.tokens > 0; });
  Print(fmt::format("{} of {} static sites saturate{}\n", saturated, sites.size(),
                    saturated > kSitesShown ? "; most of all" : ""));
  for (const SaturatedSite& site : sites | std::views::take(std::min(saturated, kSitesShown))) {
    rows.push_back({std::to_string(site.layer), SiteName(site.site),
                    fmt::format("{:.2f}", 100 * site.tokens),
                    fmt::format("{:.4f}", 100 * site.activations)});
  }
  if (saturated > 0) PrintTable(rows, "rlrr");
}

void Warn(const std::vector<SaturatedSite>& sites, bool guarded) {
  for (const SaturatedSite& site : sites) {
    if (site.tokens <= kSaturationLimit) break;
    Note(
        fmt::format("fptq: warning: layer {} {}: {:.1f} % of the tokens lie beyond the static "
                    "scale{}\n",
                    site.layer, SiteName(site.site), 100 * site.tokens,
                    guarded ? " and got their own" : "; --guard gives them their own"));
  }
}

}  // namespace

int RunPerplexity(int argc, char** argv) {
  Arguments args;
  if (!Parse(argc, argv, args)) return 0;
  std::optional<InterruptScope> interrupt;
  std::optional<OutputFile> logits;
  if (!args.logits.empty()) {
    interrupt.emplace(/*second_press_exits=*/true);  // the first removes the file
    logits.emplace(args.logits);
  }
  const std::atomic<bool>* cancel = interrupt ? &interrupt->pressed() : nullptr;
  ThreadPool pool(args.threads);
  const auto model =
      LoadModelAndWarn(Locate(args.path, args.pre_tokenizer, args.against), pool, args.form);
  const TextFile text(args.text);
  const int64_t context = ChooseContext(args.context, kDefaultContext, model->config());
  std::optional<Saturation> counts;
  if (args.saturation) counts.emplace(model->config());
  Saturation* saturation = counts ? &*counts : nullptr;
  const auto show = [&](const auto& result) {
    if (!args.json) {
      PrintResult(result, context);
      if (counts) PrintResult(StaticSites(model->config(), *counts));
      return;
    }
    Json json = Describe(result, context);
    if (counts) json["saturation"] = Describe(StaticSites(model->config(), *counts));
    Print(DumpJson(json) + "\n");
  };
  if (args.against.empty()) {
    show(Measure(args, *model, text.text(), context, saturation, logits ? &*logits : nullptr,
                 cancel, pool));
  } else {
    show(MeasureAgainst(args, *model, text.text(), context, saturation, cancel, pool));
  }
  if (logits) logits->Close();
  if (counts) Warn(StaticSites(model->config(), *counts), args.guard);
  return 0;
}

}  // namespace fptq
