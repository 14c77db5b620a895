#include "eval/windows.h"

#include <algorithm>

#include "base/error.h"

namespace fptq {
namespace {

// Rows whose logits a model holds at a time: at a vocabulary of 150,000, 77 MB.
constexpr int64_t kRows = 128;

}  // namespace

std::vector<std::vector<int32_t>> CutWindows(std::span<const int32_t> tokens,
                                             std::span<const int32_t> prefix, int64_t context) {
  const int64_t new_tokens = context - std::ssize(prefix);
  if (context < 2 || new_tokens < 1) {
    throw Error("expected windows (--context) of at least {} tokens, found {}",
                std::max<int64_t>(2, std::ssize(prefix) + 1), context);
  }
  std::vector<std::vector<int32_t>> windows;
  for (int64_t begin = 0; begin < std::ssize(tokens); begin += new_tokens) {
    const auto text =
        tokens.subspan(static_cast<size_t>(begin),
                       static_cast<size_t>(std::min(new_tokens, std::ssize(tokens) - begin)));
    windows.emplace_back(prefix.begin(), prefix.end())
        .insert(windows.back().end(), text.begin(), text.end());
  }
  return windows;
}

WindowRunner::WindowRunner(const Model& model, KvType kv_type, int64_t context, ThreadPool& pool)
    : context_(context),
      runner_(model,
              {.kv_type = kv_type,
               .positions = context,
               .rows = std::min(context, kRows),
               .logits_rows = std::min(context, kRows)},
              pool) {}

std::span<const float> WindowRunner::Run(std::span<const int32_t> chunk, int64_t position) {
  return runner_.Run({.chunks = {{.pages = runner_.Table(0),
                                  .first_position = position,
                                  .tokens = chunk,
                                  .logits = std::ssize(chunk)}}});
}

void ScoreWindows(std::span<WindowRunner> runners, std::span<const int32_t> tokens,
                  std::span<const int32_t> prefix, int64_t unscored, const Progress& progress,
                  FunctionRef<void(const ScoredTokens&)> visit) {
  FPTQ_CHECK(unscored >= 1);
  const auto windows = CutWindows(tokens, prefix, runners[0].context());
  for (const WindowRunner& runner : runners) CheckTokens(tokens, runner.model().config());
  ScoredTokens scored;
  scored.logits.resize(runners.size());
  int64_t seen = 0;  // of `tokens`
  for (const std::vector<int32_t>& window : windows) {
    const std::span<const int32_t> inputs(window.data(), window.size() - 1);
    for (size_t done = 0, rows = 0; done < inputs.size(); done += rows) {
      rows = std::min(static_cast<size_t>(kRows), inputs.size() - done);
      // Row i predicts token done + 1 + i of the window.
      const size_t skipped = std::min(rows, static_cast<size_t>(std::max<int64_t>(
                                                unscored - std::ssize(inputs.first(done)) - 1, 0)));
      scored.tokens = std::span(window).subspan(done + 1 + skipped, rows - skipped);
      for (size_t i = 0; i < runners.size(); ++i) {
        const auto vocab = static_cast<size_t>(runners[i].model().config().vocab);
        scored.logits[i] = runners[i]
                               .Run(inputs.subspan(done, rows), static_cast<int64_t>(done))
                               .subspan(skipped * vocab);
      }
      if (skipped < rows) visit(scored);
    }
    ++scored.window;
    seen += std::ssize(window) - std::ssize(prefix);
    if (progress) progress("scoring", seen, std::ssize(tokens));
  }
}

}  // namespace fptq
