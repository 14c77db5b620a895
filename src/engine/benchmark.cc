#include "engine/benchmark.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <random>
#include <vector>

#include "base/error.h"
#include "engine/runner.h"
#include "engine/sampler.h"
#include "kernels/dispatch.h"

namespace fptq {
namespace {

constexpr int64_t kPrefillRows = 512;
constexpr int kPeakTrials = 5;

template <typename Body>
double Seconds(Body body) {
  const auto start = std::chrono::steady_clock::now();
  body();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double MeasureInt8Ops(ThreadPool& pool) {
  constexpr double kSeconds = 0.02;
  const auto& peak = Kernels().int8_peak;
  // Doubled until one thread takes long enough.
  int64_t steps = 1000;
  while (Seconds([&] { peak(steps); }) < kSeconds) steps *= 2;
  double best = 0;
  for (int i = 0; i < kPeakTrials; ++i) {
    const double seconds =
        Seconds([&] { pool.ParallelFor(pool.threads(), [&](int64_t, int64_t) { peak(steps); }); });
    const int64_t multiply_adds = peak(1) * steps * pool.threads();
    best = std::max(best, 2 * static_cast<double>(multiply_adds) / seconds);
  }
  return best;
}

// Sums `words` in kStreams places at a time: which pattern is fastest depends on the machine.
template <int kStreams>
uint64_t Sum(std::span<const uint64_t> words) {
  constexpr size_t kLine = 8;  // words
  const size_t stream = words.size() / kStreams / kLine * kLine;
  uint64_t sums[kLine] = {};
  for (size_t i = 0; i < stream; i += kLine) {
    for (int s = 0; s < kStreams; ++s) {
      const uint64_t* line = words.data() + static_cast<size_t>(s) * stream + i;
      for (size_t j = 0; j < kLine; ++j) sums[j] += line[j];
    }
  }
  uint64_t sum = 0;
  for (const uint64_t part : sums) sum += part;
  return sum;
}

double MeasureReadBytes(ThreadPool& pool) {
  constexpr int64_t kWords = (int64_t{256} << 20) / 8;
  AlignedBuffer<uint64_t> buffer(kWords);
  pool.ParallelFor(kWords, [&](int64_t begin, int64_t end) {
    std::fill(buffer.data() + begin, buffer.data() + end, 1);
  });
  double best = 0;
  for (const auto sum : {Sum<1>, Sum<2>, Sum<4>, Sum<8>}) {
    for (int i = 0; i < kPeakTrials; ++i) {
      const double seconds = Seconds([&] {
        pool.ParallelFor(kWords, [&](int64_t begin, int64_t end) {
          const auto count = static_cast<size_t>(end - begin);
          FPTQ_CHECK(sum({buffer.data() + begin, count}) <= count);  // so that it is computed
        });
      });
      best = std::max(best, 8.0 * static_cast<double>(kWords) / seconds);
    }
  }
  return best;
}

// What the steps of a repetition cost, by the shapes.
class WorkCounter {
 public:
  WorkCounter(const Model& model, int64_t kv_bytes_per_position)
      : config_(model.config()), kv_bytes_(static_cast<double>(kv_bytes_per_position)) {
    const Mixture& mixture = config_.mixture;
    active_ = static_cast<double>(mixture.active) /
              static_cast<double>(std::max<int64_t>(1, mixture.experts));
    for (size_t layer = 0; layer < model.layers.size(); ++layer) {
      const LayerWeights& weights = model.layers[layer];
      weights.ForEachLinear([&](const Linear& linear) {
        layer_bytes_ += static_cast<double>(linear.Bytes());
        layer_ops_ += OpsPerRow(linear);
      });
      if (!config_.is_mixture(static_cast<int64_t>(layer))) continue;
      for (size_t expert = 0; expert < static_cast<size_t>(mixture.experts); ++expert) {
        for (const Linear* linear : {&weights.mlps[expert].gate_up, &weights.mlps[expert].down}) {
          expert_bytes_ += static_cast<double>(linear->Bytes());
          layer_ops_ -= (1 - active_) * OpsPerRow(*linear);
        }
      }
    }
    head_bytes_ = static_cast<double>(model.head.Bytes());
    head_ops_ = OpsPerRow(model.head);
  }

  void Add(const ForwardBatch& batch, BenchmarkResult& result) const {
    const auto logits_rows = static_cast<double>(batch.logits_rows());
    result.bytes += layer_bytes_ + (logits_rows > 0 ? head_bytes_ : 0);
    if (expert_bytes_ > 0) {  // those that rows take, as if all took different ones
      const double read = std::min(1.0, static_cast<double>(batch.rows()) * active_);
      result.bytes -= (1 - read) * expert_bytes_;
    }
    result.operations += static_cast<double>(batch.rows()) * layer_ops_ + logits_rows * head_ops_;
    for (const BatchChunk& chunk : batch.chunks) {
      const auto rows = static_cast<double>(chunk.tokens.size());
      const auto first = static_cast<double>(chunk.first_position);
      result.bytes += (first + rows) * kv_bytes_;
      const double pairs = rows * first + rows * (rows + 1) / 2;  // of a query and a position
      // Two products of a query head's width a pair, each a multiplication and an addition.
      result.operations += static_cast<double>(config_.layers * config_.query_width()) * 4 * pairs;
    }
    ++result.steps;
  }

 private:
  static double OpsPerRow(const Linear& linear) {
    return 2 * static_cast<double>(linear.channels()) * static_cast<double>(linear.k());
  }

  const ModelConfig& config_;
  double kv_bytes_;  // of a position, all layers
  double active_;    // share of the experts that a row takes
  double layer_bytes_ = 0, expert_bytes_ = 0, layer_ops_ = 0, head_bytes_ = 0, head_ops_ = 0;
};

// The sequences of a case over one KV cache. Each repetition starts again at the depth.
class CaseRunner {
 public:
  CaseRunner(const Model& model, const BenchmarkCase& test, ThreadPool& pool)
      : test_(test),
        runner_(model,
                {.slots = test.sequences,
                 .positions = test.depth + test.tokens,
                 .rows = MaxRows(test),
                 .logits_rows = test.sequences,
                 .sections = test.sequences * SectionsFor(test.depth + test.tokens)},
                pool),
        scratch_(static_cast<size_t>(pool.threads())) {
    std::mt19937 random(0);
    const std::span<const int32_t> ids = model.tokenizer.ids();
    tokens_.resize(static_cast<size_t>(test.depth + test.tokens));
    for (int32_t& token : tokens_) token = ids[random() % ids.size()];
    result_.kv_bytes = runner_.cache().Bytes();
    const WorkCounter work(model, result_.kv_bytes / runner_.pages() / kKvBlock);
    Prefill(0, test.depth, nullptr);
    Repeat(&work);  // warms up and counts
  }

  BenchmarkResult Run(int64_t repetitions, BenchmarkProfile* profile) {
    const double tokens = static_cast<double>(test_.tokens * test_.sequences);
    if (profile != nullptr) {
      const std::span<const int32_t> ids = runner_.model().tokenizer.ids();
      samplers_.assign(static_cast<size_t>(test_.sequences),
                       Sampler({.temperature = 1, .top_k = 0, .top_p = 1}, ids));
      runner_.activations().profile = &profile->parts;
      runner_.pool().CountWaiting(&profile->waiting_seconds);
      profile->steps += repetitions * result_.steps;
    }
    std::vector<double> rates;
    for (int64_t i = 0; i < repetitions; ++i) {
      sampling_seconds_ = 0;
      const double seconds = Seconds([&] { Repeat(nullptr); }) - sampling_seconds_;
      if (profile != nullptr) profile->sampling_seconds += sampling_seconds_;
      result_.seconds += seconds / static_cast<double>(repetitions);
      rates.push_back(tokens / seconds);
    }
    runner_.pool().CountWaiting(nullptr);
    for (const double rate : rates) result_.mean += rate / static_cast<double>(repetitions);
    double squares = 0;
    for (const double rate : rates) squares += (rate - result_.mean) * (rate - result_.mean);
    if (repetitions > 1) {
      result_.standard_deviation = std::sqrt(squares / static_cast<double>(repetitions - 1));
    }
    return result_;
  }

 private:
  static int64_t MaxRows(const BenchmarkCase& test) {
    return std::max(test.sequences, std::min(kPrefillRows, test.depth + test.tokens));
  }

  void Repeat(const WorkCounter* work) {
    switch (test_.phase) {
      case BenchmarkPhase::kPrefill:
        return Prefill(test_.depth, test_.depth + test_.tokens, work);
      case BenchmarkPhase::kDecode:
        return Decode(work);
    }
  }

  // Logits of the last position only.
  void Prefill(int64_t begin, int64_t end, const WorkCounter* work) {
    batch_.chunks.resize(1);
    for (int64_t slot = 0; slot < test_.sequences; ++slot) {
      for (int64_t first = begin; first < end; first += kPrefillRows) {
        const int64_t last = std::min(end, first + kPrefillRows);
        batch_.chunks[0] = Chunk(slot, first, last, /*logits=*/last == end ? 1 : 0);
        Step(work);
      }
    }
  }

  void Decode(const WorkCounter* work) {
    batch_.chunks.resize(static_cast<size_t>(test_.sequences));
    for (int64_t position = test_.depth; position < test_.depth + test_.tokens; ++position) {
      for (int64_t slot = 0; slot < test_.sequences; ++slot) {
        batch_.chunks[static_cast<size_t>(slot)] =
            Chunk(slot, position, position + 1, /*logits=*/1);
      }
      Step(work);
      if (!samplers_.empty()) sampling_seconds_ += Seconds([&] { Sample(); });
    }
  }

  void Sample() {
    std::atomic<int64_t> next = 0;
    runner_.pool().ParallelEach(std::ssize(scratch_), [&](int64_t thread) {
      for (int64_t i; (i = next++) < test_.sequences;) {
        samplers_[static_cast<size_t>(i)].Sample(runner_.Logits(i), {},
                                                 scratch_[static_cast<size_t>(thread)]);
      }
    });
  }

  BatchChunk Chunk(int64_t slot, int64_t begin, int64_t end, int64_t logits) const {
    return {.pages = runner_.Table(slot),
            .first_position = begin,
            .tokens = std::span(tokens_).subspan(static_cast<size_t>(begin),
                                                 static_cast<size_t>(end - begin)),
            .logits = logits};
  }

  void Step(const WorkCounter* work) {
    runner_.Run(batch_);
    if (work != nullptr) work->Add(batch_, result_);
  }

  const BenchmarkCase test_;
  Runner runner_;
  ForwardBatch batch_;
  std::vector<int32_t> tokens_;            // [depth + tokens], the same for all sequences
  std::vector<Sampler> samplers_;          // of a profile: of each sequence
  std::vector<Sampler::Scratch> scratch_;  // of each thread
  double sampling_seconds_ = 0;            // of a repetition
  BenchmarkResult result_;
};

}  // namespace

MachinePeaks MeasurePeaks(ThreadPool& pool) {
  return {.int8_ops = MeasureInt8Ops(pool), .read_bytes = MeasureReadBytes(pool)};
}

std::string BenchmarkCase::Name() const {
  std::string name = fmt::format("{}{}", phase == BenchmarkPhase::kPrefill ? "pp" : "tg", tokens);
  if (sequences > 1) name += fmt::format(" x{}", sequences);
  if (depth > 0) name += fmt::format(" @ d{}", depth);
  return name;
}

BenchmarkResult RunBenchmark(const Model& model, const BenchmarkCase& test, int64_t repetitions,
                             ThreadPool& pool, BenchmarkProfile* profile) {
  FPTQ_CHECK(test.tokens >= 1 && test.depth >= 0 && test.sequences >= 1 && repetitions >= 1);
  const int64_t positions = model.config().max_positions;
  if (test.depth > positions - test.tokens) {
    throw Error("{}: expected at most {} tokens, the positions of the model, found {}", test.Name(),
                positions, test.depth + test.tokens);
  }
  return CaseRunner(model, test, pool).Run(repetitions, profile);
}

}  // namespace fptq
