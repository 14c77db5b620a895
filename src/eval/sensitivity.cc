#include "eval/sensitivity.h"

#include <algorithm>

#include "base/error.h"
#include "engine/runner.h"
#include "eval/divergence.h"
#include "eval/windows.h"

namespace fptq {
namespace {

void CheckModels(const Model& quantized, const Model& source) {
  if (source.quantized() || !quantized.quantized()) {
    throw Error(
        "sensitivity: expected a quantized model and the float model it came from, found {}",
        source.quantized() ? "two quantized ones" : "two float ones");
  }
  const ModelConfig &a = quantized.config(), &b = source.config();
  if (a.layers != b.layers || a.hidden != b.hidden || a.heads != b.heads ||
      a.kv_heads != b.kv_heads || a.head_dim != b.head_dim || a.mlp != b.mlp ||
      a.vocab != b.vocab) {
    throw Error(
        "sensitivity: expected a quantized model and the float model it came from, found "
        "models of different shapes");
  }
}

// Runs windows through float layers of which one at a time is replaced.
class LayerSwapper {
 public:
  LayerSwapper(const Model& quantized, const Model& source, int64_t context, ThreadPool& pool)
      : quantized_(quantized),
        source_(source),
        pool_(pool),
        runner_(source,
                {.kv_type = KvType::kF32,
                 .layers = 1,
                 .positions = context,
                 .rows = context,
                 .logits_rows = context},
                pool),
        act_(runner_.activations()),
        batch_{.chunks = std::vector<BatchChunk>(1)} {}

  // Appends to divergences[layer] those of the window's positions.
  void Run(std::span<const int32_t> window, std::vector<std::vector<double>>& divergences) {
    const ModelConfig& config = source_.config();
    const auto rows = std::ssize(window);
    batch_.chunks[0] = {
        .pages = runner_.Table(0), .first_position = 0, .tokens = window, .logits = rows};
    EmbedTokens(config, source_.source.embedding(), batch_, pool_, act_);
    PrepareRope(config, batch_, act_);
    const auto hidden = act_.hidden.span().first(static_cast<size_t>(rows * config.hidden));
    std::vector<std::vector<float>> inputs;  // of each layer: [rows, hidden]
    for (int64_t layer = 0; layer < config.layers; ++layer) {
      inputs.emplace_back(hidden.begin(), hidden.end());
      RunLayer(source_, layer);
    }
    const std::vector<float> reference = Logits(rows);
    for (int64_t swapped = 0; swapped < config.layers; ++swapped) {
      std::ranges::copy(inputs[static_cast<size_t>(swapped)], hidden.begin());
      RunLayer(quantized_, swapped);
      for (int64_t layer = swapped + 1; layer < config.layers; ++layer) RunLayer(source_, layer);
      Append(Logits(rows), reference, window, divergences[static_cast<size_t>(swapped)]);
    }
  }

 private:
  void RunLayer(const Model& model, int64_t layer) {
    ForwardLayer(source_.config(), model.layers[static_cast<size_t>(layer)], layer, batch_,
                 runner_.cache(),
                 /*cache_layer=*/0, pool_, act_);
  }

  std::vector<float> Logits(int64_t rows) {
    ComputeLogits(source_.config(), source_.final_norm, source_.head, batch_, pool_, act_);
    const float* logits = act_.logits.data();
    return {logits, logits + rows * source_.config().vocab};
  }

  void Append(std::span<const float> logits, std::span<const float> reference,
              std::span<const int32_t> window, std::vector<double>& divergences) {
    const auto vocab = static_cast<size_t>(source_.config().vocab);
    const size_t first = divergences.size();
    divergences.resize(first + window.size());
    pool_.ParallelFor(std::ssize(window), [&](int64_t begin, int64_t end) {
      for (auto row = static_cast<size_t>(begin); row < static_cast<size_t>(end); ++row) {
        divergences[first + row] =
            CompareLogits(logits.subspan(row * vocab, vocab), reference.subspan(row * vocab, vocab),
                          source_.tokenizer.ids(), window[row])
                .kl;
      }
    });
  }

  const Model& quantized_;
  const Model& source_;
  ThreadPool& pool_;
  Runner runner_;  // with the cache of one layer: each is run over the whole window
  Activations& act_;
  ForwardBatch batch_;  // one chunk
};

}  // namespace

std::vector<Estimate> MeasureSensitivity(const Model& quantized, const Model& source,
                                         std::span<const int32_t> tokens,
                                         std::span<const int32_t> prefix, int64_t context,
                                         ThreadPool& pool, const Progress& progress) {
  CheckModels(quantized, source);
  if (tokens.empty()) throw Error("sensitivity: expected tokens, found none");
  CheckTokens(tokens, source.config());
  LayerSwapper swapper(quantized, source, context, pool);
  std::vector<std::vector<double>> divergences(static_cast<size_t>(source.config().layers));
  std::vector<int64_t> window_sizes;
  int64_t seen = 0;
  for (const std::vector<int32_t>& window : CutWindows(tokens, prefix, context)) {
    swapper.Run(window, divergences);
    window_sizes.push_back(std::ssize(window));
    seen += std::ssize(window) - std::ssize(prefix);
    if (progress) progress("swapping layers", seen, std::ssize(tokens));
  }
  std::vector<Estimate> estimates;
  for (const std::vector<double>& layer : divergences) {
    estimates.push_back(ClusteredMean(layer, window_sizes));
  }
  return estimates;
}

}  // namespace fptq
