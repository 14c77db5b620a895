#include "model/model.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <new>
#include <random>

#include "base/json.h"
#include "base/test_paths.h"
#include "base/test_util.h"
#include "files/json_file.h"
#include "io/checkpoint.h"
#include "model/weights/float_layer.h"

namespace {
std::atomic<int64_t> allocations = 0;
}  // namespace

// Counts all allocations of this test binary: the forward pass must make none. TSan's runtime has
// such operators, too, of which the linker takes these.
[[gnu::noinline]] void* operator new(size_t size) {
  ++allocations;
  if (void* p = std::malloc(size)) return p;
  throw std::bad_alloc();
}
// That of std::stable_sort, which is freed by the next ones.
[[gnu::noinline]] void* operator new(size_t size, const std::nothrow_t&) noexcept {
  ++allocations;
  return std::malloc(size);
}
[[gnu::noinline]] void operator delete(void* p) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, size_t) noexcept { std::free(p); }

namespace fptq {
namespace {

const std::filesystem::path kModels = std::filesystem::path(kTestdata) / "models";

std::filesystem::path ModelPath(const std::string& name) {
  return name.ends_with("-gguf") ? kModels / name / "model.gguf" : kModels / name;
}

// tiny-bloom-gguf is tiny-bloom in another format; tiny-llama-gguf has a golden of its own.
std::string GoldenName(const std::string& name) {
  if (!name.ends_with("-gguf") || name == "tiny-llama-gguf") return name;
  return name.substr(0, name.size() - std::string_view("-gguf").size());
}

std::vector<int32_t> GoldenTokens(const std::string& model) {
  const std::string name = GoldenName(model);
  return ReadJsonFile(kModels / name / "golden.json")["token_ids"].get<std::vector<int32_t>>();
}

std::vector<float> GoldenLogits(const std::string& model) {
  const std::string name = GoldenName(model);
  const std::string bytes = ReadFile(kModels / name / "logits.f32");
  std::vector<float> logits(bytes.size() / 4);
  std::memcpy(logits.data(), bytes.data(), bytes.size());
  return logits;
}

struct RunOptions {
  int threads = 1;
  std::vector<int64_t> chunks = {10'000};  // rows of each step; the last one repeats
  std::vector<int32_t> pages = {};         // block table; empty: in order
  int64_t max_sections = 0;                // Activations::max_sections
};

// Logits of all the tokens, run chunk after chunk.
std::vector<float> Logits(const Model& model, std::span<const int32_t> tokens,
                          const RunOptions& run) {
  ThreadPool pool(run.threads);
  const int64_t count = std::ssize(tokens);
  const std::vector<int32_t> pages = run.pages.empty() ? PageRange(0, PagesFor(count)) : run.pages;
  KvCache cache(model.config(), model.kv_type(), *std::ranges::max_element(pages) + 1,
                model.config().layers);
  Activations act(model.config(), count, count, run.max_sections);
  std::vector<float> logits;
  for (int64_t done = 0, step = 0; done < count; ++step) {
    const int64_t rows =
        std::min(run.chunks[std::min<size_t>(step, run.chunks.size() - 1)], count - done);
    const ForwardBatch batch{
        .chunks = {{.pages = pages,
                    .first_position = done,
                    .tokens = tokens.subspan(static_cast<size_t>(done), static_cast<size_t>(rows)),
                    .logits = rows}}};
    Forward(model, batch, cache, pool, act);
    logits.insert(logits.end(), act.logits.data(), act.logits.data() + rows * model.config().vocab);
    done += rows;
  }
  return logits;
}

// The largest difference, as a share of the largest expected value.
double LargestError(std::span<const float> found, std::span<const float> expected) {
  EXPECT_EQ(found.size(), expected.size());
  double error = 0, largest = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    error = std::max(error, std::abs(double{found[i]} - double{expected[i]}));
    largest = std::max(largest, std::abs(double{expected[i]}));
  }
  return error / largest;
}

std::shared_ptr<const Model> Load(const std::string& name) {
  ThreadPool pool(2);
  return LoadModel(ModelPath(name), pool);
}

class FloatModel : public testing::TestWithParam<const char*> {};

TEST_P(FloatModel, AgreesWithTransformers) {
  const auto model = Load(GetParam());
  // Both sum in float32, in different orders: rounding errors of some 1e-7 each, over sums of up to
  // 256 terms and two or three layers.
  const double error =
      LargestError(Logits(*model, GoldenTokens(GetParam()), {}), GoldenLogits(GetParam()));
  EXPECT_LT(error, 2e-5);
}

INSTANTIATE_TEST_SUITE_P(Model, FloatModel,
                         testing::Values("tiny-llama-f32", "tiny-llama-f16", "tiny-llama-bf16",
                                         "tiny-llama-gguf", "tiny-llama3", "tiny-llama-linear-rope",
                                         "tiny-bloom", "tiny-bloom-gguf", "tiny-mistral",
                                         "tiny-qwen2", "tiny-qwen3", "tiny-gpt-neox", "tiny-opt",
                                         "tiny-gemma2", "tiny-gemma2-gguf", "tiny-gemma3",
                                         "tiny-phi3", "tiny-granite", "tiny-olmo2", "tiny-smollm3",
                                         "tiny-mixtral", "tiny-mixtral-gguf", "tiny-qwen2-moe",
                                         "tiny-qwen3-moe", "tiny-qwen3-moe-gguf", "tiny-falcon",
                                         "tiny-falcon-grouped", "tiny-falcon-grouped-gguf",
                                         "tiny-falcon-rw", "tiny-gpt2", "tiny-gpt2-gguf"));

// A change of any bit of any logit changes it.
uint64_t Hash(std::span<const float> values) {
  uint64_t hash = 0xcbf29ce484222325;
  for (const float value : values) {
    hash = (hash ^ std::bit_cast<uint32_t>(value)) * 0x100000001b3;
  }
  return hash;
}

// Every compiler, C library, processor and ISA must give these bits: CI runs this test with each
// FPTQ_ISA, and on arm64. Another arithmetic on purpose is other numbers here.
TEST(Logits, HaveTheseBits) {
  const std::pair<const char*, uint64_t> models[] = {
      {"tiny-llama-f32", 13480880226709475735u}, {"tiny-llama-w4a8", 9648465320357602948u},
      {"tiny-llama3", 8901408824262944672u},     {"tiny-gpt-neox", 15340276837575229880u},
      {"tiny-bloom", 12609018338117851065u},     {"tiny-gemma2", 12003721947440579315u},
  };
  for (const auto& [name, hash] : models) {
    EXPECT_EQ(Hash(Logits(*Load(name), GoldenTokens(name), {})), hash) << name;
  }
}

// Root mean square of the differences, as a share of that of the expected values.
double RmsError(std::span<const float> found, std::span<const float> expected) {
  double error = 0, norm = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    error += (double{found[i]} - double{expected[i]}) * (double{found[i]} - double{expected[i]});
    norm += double{expected[i]} * double{expected[i]};
  }
  return std::sqrt(error / norm);
}

// Ours, and what other programs write: scripts/golden/compressed_goldens.py.
class QuantizedModel : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Model, QuantizedModel,
                         testing::Values("tiny-llama-w4a8", "tiny-llama-w8a8", "tiny-llama-mixed",
                                         "tiny-llama-parts", "tiny-llama-gptq", "tiny-llama-gptq8",
                                         "tiny-llama-awq"));

TEST_P(QuantizedModel, AgreesWithTransformers) {
  const std::string name = GetParam();
  const auto model = Load(name);
  // The golden has keys, values, attention and lm_head in float, ours are INT8. Half a step of max
  // / 127 is 0.6 % of the norm of a normal vector. It comes in directly (queries, keys, softmax
  // weights, values, lm_head and its input) and by tipping roundings: activations that differ a
  // little are rounded differently. About 30 such errors add up to 3 %.
  EXPECT_LT(RmsError(Logits(*model, GoldenTokens(name), {}), GoldenLogits(name)), 0.05);
}

// The head in float, or its integers as they are, whose input is not rotated.
Linear HeadAsStored(const ModelSource& source) {
  ThreadPool pool(1);
  const ModelConfig& config = source.config();
  if (const auto& packed = source.packed_head()) {
    QuantizedMatrix matrix = MakeQuantizedMatrix(packed->quantization.weight_bits, config.vocab,
                                                 config.hidden, packed->group_size);
    for (int64_t channel = 0; channel < config.vocab; ++channel) {
      const PackedRow row(*packed, channel);
      PackRow(matrix, channel, row.q, row.scales, row.zeros);
    }
    return {.weights = std::move(matrix), .bias = {}, .act = {}};
  }
  SourceLinear head{
      .name = "lm_head", .channels = config.vocab, .k = config.hidden, .weight = {}, .bias = {}};
  head.weight.Resize(head.channels * head.k);
  for (int64_t row = 0; row < head.channels; ++row) {
    source.ReadHeadRow(row, head.weight.span().subspan(static_cast<size_t>(row * head.k),
                                                       static_cast<size_t>(head.k)));
  }
  return FloatLinear({&head, 1}, pool);
}

TEST_P(QuantizedModel, AgreesWithTransformersWhenScalesAreByTokenAndCacheAndHeadFloat) {
  const std::string name = GetParam();
  const auto model = Load(name);
  const ModelConfig& config = model->config();
  const std::vector<int32_t> tokens = GoldenTokens(name);
  const int64_t rows = std::ssize(tokens);
  ThreadPool pool(1);
  const Linear head = HeadAsStored(model->source);

  KvCache cache(config, KvType::kF32, PagesFor(rows), config.layers);
  const std::vector<int32_t> pages = PageRange(0, cache.pages());
  Activations act(config, rows, rows);
  act.input.token_scales = true;
  const ForwardBatch batch{
      .chunks = {{.pages = pages, .first_position = 0, .tokens = tokens, .logits = rows}}};
  EmbedTokens(config, model->source.embedding(), batch, pool, act);
  PrepareRope(config, batch, pool, act);
  for (int64_t layer = 0; layer < config.layers; ++layer) {
    ForwardLayer(config, model->layers[static_cast<size_t>(layer)], layer, batch, cache, layer,
                 pool, act);
  }
  ComputeLogits(config, model->final_norm, head, batch, pool, act);
  // The same model as the golden. What remains is float rounding, which now and then tips an
  // activation that lies between two int8 values: one step of 1/127 in one of 64 or 96 inputs.
  EXPECT_LT(LargestError(act.logits.span(), GoldenLogits(name)), 2e-3);
}

// The weights stay integers, of 4 bits where they are, whether their activations are float or, if
// they may be, in int8.
TEST(OthersIntegers, StayIntegers) {
  for (const std::string name : {"tiny-llama-gptq", "tiny-llama-gptq8", "tiny-llama-awq"}) {
    for (const FloatForm form : {FloatForm::kFloat32, FloatForm::kInt8}) {
      ThreadPool pool(2);
      const auto model = LoadModel(std::filesystem::path(kTestdata) / "models" / name, pool, form);
      const Linear& mlp_mid = model->layers[0].at(ActSite::kMlpMid);
      EXPECT_EQ(mlp_mid.TakesInt8(), form == FloatForm::kInt8) << name;
      const auto& matrix = std::get<QuantizedMatrix>(mlp_mid.weights);
      EXPECT_EQ(matrix.bits, name == "tiny-llama-gptq8" ? 8 : 4);
      EXPECT_EQ(matrix.zero_points.size() > 0, name != "tiny-llama-gptq8");
      EXPECT_EQ(mlp_mid.input_order.empty(), name != "tiny-llama-gptq");
      EXPECT_LT(RmsError(Logits(*model, GoldenTokens(name), {}), GoldenLogits(name)), 0.05) << name;
    }
  }
}

// Results are a function of the tokens alone: bit for bit.
class Invariance : public testing::TestWithParam<const char*> {};

TEST_P(Invariance, ThreadsAndChunksDoNotMatter) {
  const auto model = Load(GetParam());
  std::vector<int32_t> tokens;  // several blocks of the KV cache
  for (int i = 0; i < 4; ++i) {
    for (const int32_t token : GoldenTokens(GetParam())) tokens.push_back(token);
  }
  const std::vector<float> expected = Logits(*model, tokens, {});
  for (const RunOptions& run :
       {RunOptions{.threads = 2}, RunOptions{.threads = 3, .chunks = {7, 64, 1, 1, 13}},
        RunOptions{.chunks = {1}}, RunOptions{.chunks = {63, 2, 5}}}) {
    EXPECT_EQ(Logits(*model, tokens, run), expected);
  }
}

// Wherever the pages of the cache lie.
TEST_P(Invariance, OrderOfPagesDoesNotMatter) {
  const auto model = Load(GetParam());
  std::vector<int32_t> tokens;
  while (tokens.size() < 5 * kKvBlock) {
    for (const int32_t token : GoldenTokens(GetParam())) tokens.push_back(token);
  }
  const std::vector<float> expected = Logits(*model, tokens, {});
  std::vector<int32_t> pages = PageRange(0, PagesFor(std::ssize(tokens)) + 3);
  std::mt19937 random(1);
  for (int i = 0; i < 3; ++i) {
    std::ranges::shuffle(pages, random);
    EXPECT_EQ(Logits(*model, tokens, {.threads = 2, .chunks = {150, 1, 70, 1}, .pages = pages}),
              expected);
  }
}

// A page that two sequences have in common is written by one of them and read by both.
TEST_P(Invariance, SharedPagesDoNotMatter) {
  const auto model = Load(GetParam());
  const ModelConfig& config = model->config();
  const std::vector<int32_t> golden = GoldenTokens(GetParam());
  std::vector<int32_t> tokens;  // a page and a half
  while (tokens.size() < 3 * kKvBlock / 2) {
    tokens.insert(tokens.end(), golden.begin(), golden.end());
  }
  std::vector<int32_t> other = tokens;
  std::ranges::reverse(other.begin() + kKvBlock, other.end());
  ThreadPool pool(2);
  KvCache cache(config, model->kv_type(), /*pages=*/3, config.layers);
  Activations act(config, std::ssize(tokens), 2);
  const std::vector<int32_t> pages[] = {{1, 0}, {1, 2}};
  const auto rest = [](const std::vector<int32_t>& all) {
    return std::span(all).subspan(kKvBlock);
  };
  Forward(*model, {.chunks = {{.pages = pages[0], .tokens = std::span(tokens).first(kKvBlock)}}},
          cache, pool, act);
  Forward(
      *model,
      {.chunks =
           {{.pages = pages[0], .first_position = kKvBlock, .tokens = rest(tokens), .logits = 1},
            {.pages = pages[1], .first_position = kKvBlock, .tokens = rest(other), .logits = 1}}},
      cache, pool, act);
  const auto vocab = static_cast<size_t>(config.vocab);
  for (size_t i = 0; i < 2; ++i) {
    const std::vector<float> all = Logits(*model, i == 0 ? tokens : other, {});
    EXPECT_TRUE(
        std::ranges::equal(act.logits.span().subspan(i * vocab, vocab), std::span(all).last(vocab)))
        << i;
  }
}

// A copy of a page serves as well as the page.
TEST_P(Invariance, CopiesOfPagesDoNotMatter) {
  const auto model = Load(GetParam());
  const ModelConfig& config = model->config();
  const std::vector<int32_t> tokens = GoldenTokens(GetParam());
  ASSERT_LT(std::ssize(tokens), kKvBlock);
  ThreadPool pool(2);
  KvCache cache(config, model->kv_type(), /*pages=*/3, config.layers);
  Activations act(config, std::ssize(tokens), 1);
  const std::vector<int32_t> original = {0}, copy = {2};
  Forward(*model, {.chunks = {{.pages = original, .tokens = std::span(tokens).first(20)}}}, cache,
          pool, act);
  cache.CopyPage(0, 2, pool);
  Forward(*model,
          {.chunks = {{.pages = copy,
                       .first_position = 20,
                       .tokens = std::span(tokens).subspan(20),
                       .logits = 1}}},
          cache, pool, act);
  const std::vector<float> all = Logits(*model, tokens, {});
  EXPECT_TRUE(std::ranges::equal(act.logits.span(),
                                 std::span(all).last(static_cast<size_t>(config.vocab))));
}

// Steps of one row give each section of the cache to whichever thread is free.
TEST_P(Invariance, SectionsOfALongContextDoNotMatter) {
  const auto model = Load(GetParam());
  const TensorView* positions = model->source.embedding().positions;
  if (positions != nullptr && positions->shape[0] < kKvSection + 12) {
    GTEST_SKIP() << "its learned positions end before that";
  }
  const std::vector<int32_t> golden = GoldenTokens(GetParam());
  std::vector<int32_t> tokens;
  for (int64_t i = 0; i < kKvSection + 12; ++i) {
    tokens.push_back(golden[static_cast<size_t>(i * i) % golden.size()]);
  }
  const std::vector<float> expected = Logits(*model, tokens, {});
  for (const int threads : {1, 2}) {
    const RunOptions run{.threads = threads, .chunks = {kKvSection - 4, 1}, .max_sections = 2};
    EXPECT_EQ(Logits(*model, tokens, run), expected) << threads << " threads";
  }
}

TEST_P(Invariance, BatchMixAndOldCacheContentsDoNotMatter) {
  const auto model = Load(GetParam());
  const ModelConfig& config = model->config();
  const std::vector<int32_t> tokens = GoldenTokens(GetParam());
  const std::vector<float> all = Logits(*model, tokens, {});
  const std::span<const float> expected = std::span(all).last(static_cast<size_t>(config.vocab));
  const std::vector<int32_t> other(tokens.rbegin(), tokens.rend());

  ThreadPool pool(2);
  KvCache cache(config, model->kv_type(), /*pages=*/6, config.layers);
  const std::vector<int32_t> pages[] = {PageRange(0, 2), PageRange(2, 2), PageRange(4, 2)};
  Activations act(config, 256, 2);
  const int64_t split = std::ssize(tokens) / 2;
  const std::span<const int32_t> span = tokens;
  for (int round = 0; round < 2;
       ++round) {  // in the second round the cache holds the first one's leftovers
    Forward(*model,
            {.chunks = {{.pages = pages[1], .first_position = 0, .tokens = other, .logits = 1},
                        {.pages = pages[0],
                         .first_position = 0,
                         .tokens = span.first(static_cast<size_t>(split)),
                         .logits = 0}}},
            cache, pool, act);
    Forward(
        *model,
        {.chunks = {{.pages = pages[0],
                     .first_position = split,
                     .tokens = span.subspan(static_cast<size_t>(split)),
                     .logits = 1},
                    {.pages = pages[2], .first_position = 0, .tokens = span.first(3), .logits = 0},
                    {.pages = pages[1],
                     .first_position = std::ssize(other),
                     .tokens = span.first(1),
                     .logits = 1}}},
        cache, pool, act);
    EXPECT_TRUE(std::ranges::equal(act.logits.span().first(expected.size()), expected))
        << "round " << round;
  }
}

TEST_P(Invariance, ForwardAllocatesNothing) {
  const auto model = Load(GetParam());
  const std::vector<int32_t> tokens = GoldenTokens(GetParam());
  KvCache cache(model->config(), model->kv_type(), /*pages=*/1, model->config().layers);
  const std::vector<int32_t> pages = {0};
  Activations act(model->config(), 64, 1);
  const ForwardBatch prefill{
      .chunks = {{.pages = pages, .first_position = 0, .tokens = tokens, .logits = 1}}};
  const ForwardBatch decode{.chunks = {{.pages = pages,
                                        .first_position = std::ssize(tokens),
                                        .tokens = std::span(tokens).first(1),
                                        .logits = 1}}};
  for (const int threads : {1, 2}) {
    ThreadPool pool(threads);
    Forward(*model, prefill, cache, pool, act);
    const int64_t before = allocations;
    constexpr int kPasses = 16;
    for (int i = 0; i < kPasses; ++i) {
      Forward(*model, prefill, cache, pool, act);
      Forward(*model, decode, cache, pool, act);
    }
    // The pool's own thread makes its few buffers when it first takes part, which may be late.
    EXPECT_LE(allocations - before, threads == 1 ? 0 : kPasses / 2);
  }
}

INSTANTIATE_TEST_SUITE_P(Model, Invariance,
                         testing::Values("tiny-llama-f32", "tiny-llama-w4a8", "tiny-llama-mixed",
                                         "tiny-llama-parts", "tiny-llama-gguf", "tiny-bloom",
                                         "tiny-mistral", "tiny-qwen3", "tiny-gemma2", "tiny-gemma3",
                                         "tiny-phi3", "tiny-smollm3", "tiny-mixtral",
                                         "tiny-qwen2-moe", "tiny-qwen3-moe", "tiny-falcon",
                                         "tiny-falcon-grouped", "tiny-falcon-rw", "tiny-gpt2"));

// Kernels rely on the flag: some of them would take -128 for its negative. It is about the integers
// that run, which are those of the file less their zero points.
TEST(LoadModel, FlagsIntegersOfMinus128) {
  int64_t flagged = 0, others = 0;
  const auto check = [&](const Linear& linear) {
    const auto* matrix = std::get_if<QuantizedMatrix>(&linear.weights);
    if (matrix == nullptr) return;
    bool has_lowest = false;
    std::vector<int8_t> q(static_cast<size_t>(matrix->k));
    std::vector<float> scales(static_cast<size_t>(matrix->k / matrix->group_size));
    for (int64_t channel = 0; channel < matrix->channels; ++channel) {
      UnpackRow(*matrix, channel, q, scales);
      has_lowest |= std::ranges::find(q, int8_t{-128}) != q.end();
    }
    EXPECT_EQ(matrix->full_range, has_lowest);
    ++(has_lowest ? flagged : others);
  };
  for (const char* name : {"tiny-llama-w4a8", "tiny-llama-w8a8", "tiny-llama-mixed"}) {
    const auto model = Load(name);
    for (const LayerWeights& layer : model->layers) {
      layer.ForEachLinear(check);
    }
  }
  EXPECT_GT(flagged, 0);
  EXPECT_GT(others, 0);
}

// What a faulty scheduler would do: it must not end in memory of others, or in a race.
TEST(ForwardDeathTest, RejectsBatchesThatItsBuffersDoNotHold) {
  const auto model = Load("tiny-llama-w4a8");
  ThreadPool pool(1);
  KvCache cache(model->config(), KvType::kI8, /*pages=*/3, model->config().layers);
  Activations act(model->config(), /*max_rows=*/6, /*max_logits_rows=*/2);
  const std::vector<int32_t> tokens = {1, 2, 3, 4};
  const auto two = std::span(tokens).first(2);
  const std::vector<int32_t> zero = {0}, one = {1}, shared = {0, 2}, high = {3}, negative = {-1};
  const auto run = [&](std::vector<BatchChunk> chunks) {
    Forward(*model, {.chunks = std::move(chunks)}, cache, pool, act);
  };
  const int64_t last = kKvBlock - 4;
  run({{.pages = zero, .first_position = last, .tokens = tokens, .logits = 1},
       {.pages = one, .first_position = last + 2, .tokens = two, .logits = 1}});
  run({{.pages = shared, .first_position = kKvBlock, .tokens = two},  // reads what `zero` has
       {.pages = one, .first_position = 0, .tokens = two}});
  EXPECT_DEATH(run({{.pages = zero, .first_position = last + 1, .tokens = tokens}}),
               "check failed");
  EXPECT_DEATH(run({{.pages = zero, .first_position = INT64_MAX, .tokens = tokens}}),
               "check failed");
  EXPECT_DEATH(run({{.pages = zero, .first_position = -1, .tokens = tokens}}), "check failed");
  EXPECT_DEATH(run({{.pages = {}, .first_position = 0, .tokens = tokens}}), "check failed");
  EXPECT_DEATH(run({{.pages = high, .first_position = 0, .tokens = tokens}}), "check failed");
  EXPECT_DEATH(run({{.pages = negative, .first_position = 0, .tokens = tokens}}), "check failed");
  EXPECT_DEATH(run({{.pages = zero, .first_position = 0, .tokens = {}}}), "check failed");
  EXPECT_DEATH(run({{.pages = zero, .first_position = 0, .tokens = tokens},
                    {.pages = one, .first_position = 0, .tokens = tokens}}),
               "check failed");  // more rows than there are
  EXPECT_DEATH(run({{.pages = one, .first_position = 0, .tokens = two},
                    {.pages = zero, .first_position = 0, .tokens = two},
                    {.pages = one, .first_position = 2, .tokens = two}}),
               "check failed");  // two write to a page
  EXPECT_DEATH(run({{.pages = zero, .first_position = 0, .tokens = tokens, .logits = 3}}),
               "check failed");
  EXPECT_DEATH(run({{.pages = zero,
                     .first_position = 0,
                     .tokens = std::span(tokens).first(1),
                     .logits = 2}}),
               "check failed");
}

TEST(CheckTokens, RejectsIdsOutsideTheVocabulary) {
  ModelConfig config;
  config.vocab = 10;
  CheckTokens(std::vector<int32_t>{0, 9}, config);
  EXPECT_EQ(ErrorOf([&] {
              CheckTokens(std::vector<int32_t>{3, 10}, config);
            }),
            "token id: expected 0 to 9, found 10");
  EXPECT_THROW(CheckTokens(std::vector<int32_t>{-1}, config), Error);
}

}  // namespace
}  // namespace fptq
