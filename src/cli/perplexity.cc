#include "eval/perplexity.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "base/atomic_write.h"
#include "base/error.h"
#include "base/mapped_file.h"
#include "cli/arguments.h"
#include "cli/progress_bar.h"
#include "cli/subcommands.h"
#include "cli/terminal.h"

namespace fptq {
namespace {

constexpr int64_t kDefaultContext = 1024;

std::vector<int32_t> ReadTokens(const Tokenizer& tokenizer, const std::string& path) {
  const MappedFile file(path);
  const std::string_view text(reinterpret_cast<const char*>(file.bytes().data()),
                              file.bytes().size());
  return tokenizer.Encode(text, {.parse_special = false, .add_special_tokens = false});
}

}  // namespace

int RunPerplexity(int argc, char** argv) {
  CLI::App app("Measures the perplexity of a text in windows that do not overlap.",
               "fptq perplexity");
  std::string path, text, logits_path;
  int64_t context = 0, limit = 0;
  bool json = false;
  int threads = 1;
  app.add_option("MODEL", path,
                 "quantized folder, or float model: Hugging Face folder or GGUF file")
      ->required();
  app.add_option("--text", text, "UTF-8 text to predict")->required();
  app.add_option("--context", context,
                 "tokens of a window (default 1024, or less if the model has less)")
      ->check(Between(int64_t{2}, kAnyCount));
  app.add_option("--tokens", limit, "use only the first N tokens of the text")
      ->check(Between(int64_t{1}, kAnyCount));
  app.add_option(
      "--logits", logits_path,
      "also write the logits of the scored tokens to this file: float32 [tokens, vocab]");
  app.add_flag("--json", json, "print one JSON object");
  AddThreads(app, threads);
  if (!ParseArguments(app, argc, argv)) return 0;

  ThreadPool pool(threads);
  const auto model = LoadModel(path, pool);
  std::vector<int32_t> tokens = ReadTokens(model->tokenizer, text);
  if (limit > 0 && limit < std::ssize(tokens)) tokens.resize(static_cast<size_t>(limit));
  PerplexityOptions options;
  options.context = ChooseContext(context, kDefaultContext, model->config());
  std::optional<OutputFile> logits_file;
  if (!logits_path.empty()) {
    logits_file.emplace(logits_path);
    options.on_logits = [&](std::span<const float> logits) {
      logits_file->Write(std::as_bytes(logits));
    };
  }
  PerplexityResult result;
  {
    ProgressBar bar;
    result = MeasurePerplexity(*model, tokens, TextPrefix(model->tokenizer), options, pool,
                               bar.AsProgress());
  }
  if (logits_file) logits_file->Close();
  if (json) {
    const Json object = {{"perplexity", result.perplexity},
                         {"tokens", result.tokens},
                         {"standard_error", result.standard_error}};
    Print(object.dump() + "\n");
  } else {
    Print(fmt::format("perplexity {:.4f} +- {:.4f} over {} tokens in windows of {}\n",
                      result.perplexity, result.standard_error, result.tokens, options.context));
  }
  return 0;
}

}  // namespace fptq
