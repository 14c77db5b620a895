#include "quant/calibrate/self_text.h"

#include <algorithm>

#include "base/error.h"
#include "engine/runner.h"
#include "engine/sampler.h"
#include "quant/calibrate/self_text_plan.h"

namespace fptq {
namespace {

// Sequences that are written side by side: as many as the kernels need to be busy.
constexpr int64_t kSlots = 32;

}  // namespace

int64_t SelfTextSlotBytes(const ModelConfig& config, const SelfTextOptions& options) {
  return PagesFor(options.length) * KvCache::PageBytes(config, KvType::kI8, config.layers);
}

int64_t SelfTextSlots(const ModelConfig& config, const SelfTextOptions& options) {
  const int64_t layer_weights = ActiveWeightsOf(config, /*layer=*/0);
  constexpr int64_t kAnyway = 500'000'000;  // bytes that every machine has
  const int64_t room = 10 * layer_weights + kAnyway;
  const int64_t count = (options.tokens + options.length - 1) / options.length;
  return std::min({count, kSlots, std::max<int64_t>(room / SelfTextSlotBytes(config, options), 1)});
}

std::vector<std::vector<int32_t>> SampleSelfText(const Model& model,
                                                 std::span<const int32_t> prefix,
                                                 const SelfTextOptions& options, ThreadPool& pool,
                                                 const Progress& progress) {
  const ModelConfig& config = model.config();
  FPTQ_CHECK(options.tokens > 0 && options.length > std::ssize(prefix));
  const int64_t count = (options.tokens + options.length - 1) / options.length;
  const int64_t slots = SelfTextSlots(config, options);
  Runner runner(model,
                {.kv_type = KvType::kI8,
                 .slots = slots,
                 .positions = options.length,
                 .rows = slots,
                 .logits_rows = slots},
                pool);
  SelfTextPlan plan(options.seed, options.chat, model);
  std::vector<std::vector<int32_t>> sequences;
  while (std::ssize(sequences) < count) {
    const auto first = sequences.size();
    const auto rows = std::min(static_cast<size_t>(slots), static_cast<size_t>(count) - first);
    std::vector<Sampler> samplers;
    for (size_t i = 0; i < rows; ++i) {
      sequences.emplace_back(prefix.begin(), prefix.end()).push_back(plan.Begin());
      samplers.emplace_back(SamplerOptions{.temperature = 1,
                                           .top_k = 0,
                                           .top_p = 1,
                                           .seed = options.seed + (first + i) * 0x9e3779b9},
                            model.tokenizer.ids());
    }
    std::vector<int32_t> drawn(rows);
    std::vector<Sampler::Scratch> scratch(rows);
    for (int64_t position = 0; position + 1 < options.length; ++position) {
      ForwardBatch batch;
      const bool draw = position + 1 == std::ssize(sequences[first]);
      for (size_t i = 0; i < rows; ++i) {
        batch.chunks.push_back(
            {.pages = runner.Table(static_cast<int64_t>(i)),
             .first_position = position,
             .tokens = std::span(sequences[first + i]).subspan(static_cast<size_t>(position), 1),
             .logits = draw ? 1 : 0});
      }
      runner.Run(batch);
      if (!draw) continue;
      pool.ParallelEach(static_cast<int64_t>(rows), [&](int64_t i) {
        const auto row = static_cast<size_t>(i);
        drawn[row] = samplers[row].Sample(runner.Logits(i), {}, scratch[row]);
      });
      for (size_t i = 0; i < rows; ++i) {
        sequences[first + i].push_back(plan.Next(first + i, drawn[i]));
      }
      if (progress) {
        progress("writing text to calibrate with",
                 static_cast<int64_t>(first) * options.length +
                     static_cast<int64_t>(rows) * (position + 1),
                 count * options.length);
      }
    }
  }
  return sequences;
}

}  // namespace fptq
