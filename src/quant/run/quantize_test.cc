#include "quant/run/quantize.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <cmath>
#include <csignal>
#include <functional>
#include <map>
#include <set>

#include "base/test_paths.h"
#include "base/test_util.h"
#include "files/json_file.h"
#include "io/packed_linear.h"
#include "io/safetensors.h"
#include "model/model.h"
#include "model/testing.h"
#include "model/weights/float_layer.h"
#include "quant/round/rounding.h"
#include "quant/run/forecast.h"
#include "quant/run/readers.h"
#include "quant/testing.h"
#include "text/tokenizer.h"

namespace fptq {
namespace {

namespace fs = std::filesystem;
const fs::path kModels = fs::path(kTestdata) / "models";

QuantRecipe Recipe(PolicyMode policy = PolicyMode::kPaper) {
  QuantRecipe recipe;
  recipe.policy = policy;
  recipe.rounding = "weighted";
  if (policy == PolicyMode::kStatic || policy == PolicyMode::kDynamic) {
    recipe.equalization = Equalization::kNone;
  }
  recipe.calibration_tokens = 512;
  recipe.sequence_length = 64;
  return recipe;
}

QuantizeReport Quantize(const fs::path& source, const fs::path& output, const QuantRecipe& recipe,
                        int threads = 2, bool replace = false) {
  ThreadPool pool(threads);
  return QuantizeCheckpoint(source, output, recipe, {.replace = replace, .restart = false}, pool,
                            {});
}

// Multiplies two channels of each norm by `factor` and divides the weights that they meet by it:
// the same function, with outliers in the activations.
void PlantOutliers(Tensors& tensors, float factor) {
  for (int layer = 0; layer < 2; ++layer) {
    const std::string prefix = "model.layers." + std::to_string(layer) + ".";
    const auto plant = [&](const std::string& norm, std::initializer_list<std::string> linears) {
      std::vector<float>& weight = tensors.at(prefix + norm + ".weight");
      for (const size_t channel : {size_t{5}, size_t{40}}) {
        weight[channel] *= factor;
        for (const std::string& linear : linears) {
          std::vector<float>& matrix = tensors.at(prefix + linear + ".weight");
          for (size_t i = channel; i < matrix.size(); i += weight.size()) matrix[i] /= factor;
        }
      }
    };
    plant("input_layernorm", {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"});
    plant("post_attention_layernorm", {"mlp.gate_proj", "mlp.up_proj"});
  }
}

std::vector<float> Logits(const fs::path& path) {
  return GoldenLogits(path, kModels / "tiny-llama-f32");
}

std::map<std::string, std::string> FilesOf(const fs::path& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::directory_iterator(folder)) {
    files[entry.path().filename().string()] = ReadFile(entry.path());
  }
  return files;
}

TEST(QuantizeCheckpoint, OutliersCollapseUnderStaticAndRecoverUnderFptq) {
  const TempFolder folder;
  const fs::path plain = kModels / "tiny-llama-f32", planted = folder / "planted";
  CopyModel(plain, planted, [](Tensors& tensors) { PlantOutliers(tensors, 25); });
  const std::vector<float> expected = Logits(plain);
  // The rescaling is function-preserving: what is left is float rounding.
  ASSERT_LT(RelativeError(Logits(planted), expected), 1e-5);

  const QuantizeReport report = Quantize(planted, folder / "fptq", Recipe());
  EXPECT_EQ(report.CountChoices().at("lae_static"), 4);  // both norms of both layers
  for (const SitePolicy& site : report.sites) {
    if (site.channel_scales.empty()) continue;
    EXPECT_TRUE(site.range > 15 && site.range < 150) << site.range;
    EXPECT_NEAR(site.equalized_range, std::log2(2 + site.range), 1e-5);
  }
  Quantize(planted, folder / "static", Recipe(PolicyMode::kStatic));
  Quantize(plain, folder / "plain", Recipe(PolicyMode::kDynamic));
  const double fptq = RelativeError(Logits(folder / "fptq"), expected);
  const double all_static = RelativeError(Logits(folder / "static"), expected);
  // What 4-bit weights and 8-bit activations cost where there are no outliers.
  const double floor = RelativeError(Logits(folder / "plain"), expected);
  // Under static quantization an int8 step is as large as most activations; with FPTQ the outliers
  // cost little.
  EXPECT_GT(all_static, 2 * floor) << floor;
  EXPECT_LT(fptq, 1.3 * floor) << floor;
}

TEST(QuantizeCheckpoint, SpendsBitsWhereTheyGainMost) {
  const TempFolder folder;
  const fs::path source = kModels / "tiny-llama-f32";
  for (const char* rounding : {"rtn", "weighted", "gptq"}) {
    QuantRecipe recipe = Recipe(PolicyMode::kDynamic);
    recipe.rounding = rounding;
    const QuantizeReport plain = Quantize(source, folder / "plain", recipe, 2, /*replace=*/true);
    // k_proj and v_proj have 0.071 of the weights, and zero points take 4 bits in 32 or 64 inputs.
    recipe.bits = plain.BitsPerWeight() + 0.29 + 0.125;
    const QuantizeReport report = Quantize(source, folder / "out", recipe, 2, /*replace=*/true);
    ASSERT_EQ(report.linears.size(), plain.linears.size());
    const auto written = Checkpoint::Open(folder / "out");
    const auto quantization =
        QuantizationConfig::Parse(written->metadata()["quantization_config"], "out");
    int eights = 0;
    for (size_t i = 0; i < report.linears.size(); ++i) {
      const LinearReport& linear = report.linears[i];
      const bool few = linear.name.ends_with("k_proj") || linear.name.ends_with("v_proj");
      EXPECT_EQ(linear.bits, few ? 8 : 4) << linear.name;
      const LinearQuantization how = quantization.Find(linear.name).value();
      EXPECT_EQ(how.weight_bits, linear.bits) << linear.name;
      EXPECT_EQ(how.symmetric, few) << linear.name;
      // Steps of 1/17, but rounded with less care than 4 bits.
      if (few) {
        EXPECT_LT(linear.weight_error, plain.linears[i].weight_error / 4) << linear.name;
      }
      eights += few ? 1 : 0;
    }
    EXPECT_EQ(eights, 4) << "of 2 layers";
    const Reader vllm = ReadersOf(ModelSource::Open(folder / "out"))[1];
    EXPECT_FALSE(vllm.reads);
    EXPECT_NE(vllm.reason.find("6 of 14 linears have other bits"), std::string::npos)
        << vllm.reason;
    // 4 bits more for each weight of k_proj and v_proj; of the others, 4 for each group.
    double bits = 4 * 4 * 1024.0;  // of 2 layers
    for (const LinearReport& linear : report.linears) {
      if (linear.bits == 8) continue;
      const std::vector<int64_t>& shape = written->Get(linear.name + ".weight_scale").shape;
      bits += 4 * static_cast<double>(shape[0] * shape[1]);
    }
    EXPECT_NEAR(report.BitsPerWeight() - plain.BitsPerWeight(), bits / (2 * 28672), 1e-12);
    EXPECT_LE(report.BitsPerWeight(), recipe.bits);
    EXPECT_LT(RelativeError(Logits(folder / "out"), Logits(source)), 0.5);  // it runs
  }
}

// With and without zero points, whose tensor has its channels in words of 8.
class StoredWeights : public testing::TestWithParam<bool> {};

TEST_P(StoredWeights, AreNearest) {
  const bool symmetric = GetParam();
  const TempFolder folder;
  const fs::path source_path = kModels / "tiny-llama-f16";
  QuantRecipe recipe = Recipe(PolicyMode::kDynamic);
  recipe.symmetric = symmetric;
  const QuantizeReport report = Quantize(source_path, folder / "out", recipe);
  const ModelSource source = ModelSource::Open(source_path);
  const auto output = Checkpoint::Open(folder / "out");
  const auto quantization =
      QuantizationConfig::Parse(output->metadata()["quantization_config"], "out");
  EXPECT_EQ(quantization.Find("lm_head"), std::nullopt);
  size_t linears = 0;
  int64_t zeros_found = 0;
  for (int64_t layer = 0; layer < source.config().layers; ++layer) {
    for (const std::vector<SourceLinear>& site : ReadLayer(source, layer).linears) {
      for (const SourceLinear& linear : site) {
        const LinearQuantization how = quantization.Find(linear.name).value();
        EXPECT_EQ(how.activations, ActivationQuantization::kDynamicToken);
        EXPECT_EQ(how.symmetric, symmetric);
        const PackedLinear packed =
            GetPackedLinear(*output, linear.name, how, linear.channels, linear.k);
        std::vector<int8_t> q(static_cast<size_t>(linear.k));
        std::vector<float> scales(static_cast<size_t>(linear.k / how.group_size));
        std::vector<int16_t> zeros(scales.size());
        double error = 0, norm = 0;
        for (int64_t n = 0; n < linear.channels; ++n) {
          packed.ReadRow(n, q, zeros, scales);
          for (int64_t j = 0; j < linear.k; ++j) {
            const float w = linear.weight[n * linear.k + j];
            const float scale = scales[static_cast<size_t>(j / how.group_size)];
            const auto zero = static_cast<float>(zeros[static_cast<size_t>(j / how.group_size)]);
            const auto stored = static_cast<float>(q[static_cast<size_t>(j)]);
            ASSERT_EQ(stored, std::clamp(std::nearbyint(w / scale) + zero, -8.0f, 7.0f));
            error += std::pow(w - scale * (stored - zero), 2);
            zeros_found += zero != 0;
            norm += std::pow(w, 2);
          }
        }
        // 4 bits over groups of 32 or 64 normal weights: about 0.08.
        EXPECT_LT(std::sqrt(error / norm), 0.12) << linear.name;
        EXPECT_NEAR(report.linears[linears].weight_error, std::sqrt(error / norm), 0.02);
        EXPECT_EQ(report.linears[linears++].name, linear.name);
      }
    }
  }
  EXPECT_EQ(report.linears.size(), linears);
  EXPECT_EQ(zeros_found > 0, !symmetric);
  EXPECT_EQ(report.output_bytes, output->TensorBytes());
  int64_t bytes = 0;  // of the linears
  for (const auto& [name, tensor] : output->tensors()) {
    const bool counts = name.ends_with("_packed") || name.ends_with("_point") ||
                        (name.ends_with(".weight_scale") && name.find("layers") != name.npos);
    if (counts) bytes += std::ssize(tensor.bytes);
  }
  EXPECT_EQ(report.linear_bytes, bytes);
  EXPECT_EQ(ReadFloats(*output, "model.embed_tokens.weight"),
            ReadFloats(source.checkpoint(), "model.embed_tokens.weight"));
}

INSTANTIATE_TEST_SUITE_P(ZeroPoints, StoredWeights, testing::Values(true, false),
                         [](const auto& test) { return test.param ? "Without" : "With"; });

// By each rounding the model with zero points runs, and is nearer to its source.
TEST(QuantizeCheckpoint, ZeroPointsLoseLess) {
  const TempFolder folder;
  const fs::path source = kModels / "tiny-llama-f32";
  for (const char* rounding : {"rtn", "weighted", "gptq"}) {
    const auto error = [&](bool symmetric) {
      QuantRecipe recipe = Recipe(PolicyMode::kDynamic);
      recipe.rounding = rounding;
      recipe.symmetric = symmetric;
      const QuantizeReport report = Quantize(source, folder / "out", recipe, 2, /*replace=*/true);
      const ModelSource written = ModelSource::Open(folder / "out");
      for (const Reader& reader : ReadersOf(written)) {
        EXPECT_EQ(reader.reads, symmetric || reader.name != "transformers") << reader.reason;
      }
      double sum = 0;
      for (const LinearReport& linear : report.linears) sum += std::pow(linear.weight_error, 2);
      EXPECT_LT(RelativeError(Logits(folder / "out"), Logits(source)), 0.5);
      return sum;
    };
    EXPECT_LT(error(false), 0.97 * error(true)) << rounding;
  }
}

TEST(QuantizeCheckpoint, GivesTheSameBytesAgain) {
  const TempFolder folder;
  QuantRecipe recipe = Recipe();
  recipe.rounding = "gptq";
  Quantize(kModels / "tiny-llama-bf16", folder / "a", recipe, /*threads=*/1);
  Quantize(kModels / "tiny-llama-bf16", folder / "b", recipe, /*threads=*/3);
  const auto files = FilesOf(folder / "a");
  EXPECT_EQ(files, FilesOf(folder / "b"));
  for (const char* name : {"config.json", "tokenizer.json", "tokenizer_config.json",
                           "model.safetensors", "fptq.json"}) {
    EXPECT_TRUE(files.contains(name)) << name;
  }
}

TEST(QuantizeCheckpoint, TakesGguf) {
  const TempFolder folder;
  const fs::path source = kModels / "tiny-llama-gguf/model.gguf";
  QuantRecipe recipe = Recipe();
  recipe.rounding = "gptq";
  Quantize(source, folder / "out", recipe);
  EXPECT_TRUE(ModelSource::Open(folder / "out").quantized());
  // Random weights have no redundancy: the 4 bits of 14 linears cost 0.25 to 0.3 of the logits'
  // norm.
  EXPECT_LT(RelativeError(Logits(folder / "out"), Logits(source)), 0.4);
  EXPECT_TRUE(FilesOf(folder / "out").contains("generation_config.json"));
}

// What a reader of the folder goes by beside the weights, and no name of code that is not in it.
class Companions : public testing::Test {
 protected:
  Companions() { fs::copy(kModels / "tiny-llama-f32", folder_ / "source"); }

  void Write(std::string_view name, const Json& json) {
    folder_.Write("source/" + std::string(name), json.dump());
  }
  void SetInTokenizerConfig(const std::string& field, const Json& value) {
    Json config = ReadJsonFile(folder_ / "source/tokenizer_config.json");
    config[field] = value;
    Write("tokenizer_config.json", config);
  }
  std::map<std::string, std::string> Quantized() {
    QuantRecipe recipe = Recipe(PolicyMode::kDynamic);
    recipe.rounding = "rtn";
    Quantize(folder_ / "source", folder_ / "out", recipe, 1, /*replace=*/true);
    return FilesOf(folder_ / "out");
  }
  Json TokenizerConfig() { return ParseJson(Quantized()["tokenizer_config.json"], "test"); }

  TempFolder folder_;
};

TEST_F(Companions, AreCopiedWhereTheyNeedNoCode) {
  const Json processor = {{"image_processor_type", "CLIPImageProcessor"}};
  for (const char* name :
       {"tekken.json", "tokenizer.model.v3", "tokenizer.model.v7m1", "preprocessor_config.json",
        "processor_config.json", "video_preprocessor_config.json"}) {
    Write(name, processor);
  }
  Write("params.json", processor);  // of a layout of weights that is not written
  Write("modeling_x.py", "import this");
  auto files = Quantized();
  for (const char* name :
       {"tekken.json", "tokenizer.model.v3", "tokenizer.model.v7m1", "preprocessor_config.json",
        "processor_config.json", "video_preprocessor_config.json"}) {
    EXPECT_EQ(files[name], processor.dump()) << name;
  }
  EXPECT_FALSE(files.contains("params.json"));
  EXPECT_FALSE(files.contains("modeling_x.py"));
  // All of them are its own: the folder is replaced, by one that has none of them if so is the
  // source.
  fs::remove(folder_ / "source/tekken.json");
  EXPECT_FALSE(Quantized().contains("tekken.json"));
}

TEST_F(Companions, ProcessorsThatNeedCodeAreLeftOut) {
  Write("preprocessor_config.json", {{"auto_map", {{"AutoImageProcessor", "image_x.XProcessor"}}}});
  Write("processor_config.json", {{"processor_class", "LlavaProcessor"}});
  SetInTokenizerConfig("processor_class", "XProcessor");
  SetInTokenizerConfig("auto_map", {{"AutoProcessor", "processing_x.XProcessor"}});
  const auto files = Quantized();
  EXPECT_FALSE(files.contains("preprocessor_config.json"));
  EXPECT_TRUE(files.contains("processor_config.json"));
  const Json config = TokenizerConfig();
  EXPECT_FALSE(config.contains("auto_map"));
  EXPECT_FALSE(config.contains("processor_class"));
  EXPECT_EQ(config["tokenizer_class"], "PreTrainedTokenizerFast");
  EXPECT_EQ(config["bos_token"], "<|im_start|>");
}

TEST_F(Companions, ATokenizerThatNeedsCodeBecomesTheOneThatIsRead) {
  SetInTokenizerConfig("auto_map", {{"AutoTokenizer", {nullptr, "tokenization_x.XTokenizerFast"}}});
  // A class of transformers stays, whatever else the code has.
  SetInTokenizerConfig("tokenizer_class", "LlamaTokenizer");
  EXPECT_EQ(TokenizerConfig()["tokenizer_class"], "LlamaTokenizer");
  for (const Json& code :
       {Json{nullptr, "tokenization_x.XTokenizerFast"}, Json{"tokenization_x.XTokenizer", nullptr},
        Json("owner/repo--tokenization_x.XTokenizer")}) {
    SetInTokenizerConfig("auto_map", {{"AutoTokenizer", code}});
    SetInTokenizerConfig("tokenizer_class", "XTokenizer");
    EXPECT_EQ(TokenizerConfig()["tokenizer_class"], "PreTrainedTokenizerFast") << code;
    EXPECT_FALSE(TokenizerConfig().contains("auto_map"));
  }
  EXPECT_EQ(Quantized()["tokenizer.json"], ReadFile(kModels / "tiny-llama-f32/tokenizer.json"));
}

// Where the source has no tokenizer.json, the one that was made of its files.
TEST_F(Companions, ATokenizerThatNeedsCodeGetsItsFile) {
  fs::remove(folder_ / "source/tokenizer.json");
  const fs::path sentencepiece = fs::path(kTestdata) / "tokenizer/sentencepiece";
  fs::copy_file(sentencepiece / "tokenizer.model", folder_ / "source/tokenizer.model");
  Write("tokenizer_config.json", {{"tokenizer_class", "XTokenizer"}});
  EXPECT_FALSE(Quantized().contains("tokenizer.json"));
  SetInTokenizerConfig("auto_map", {{"AutoTokenizer", {"tokenization_x.XTokenizer", nullptr}}});
  EXPECT_EQ(ParseJson(Quantized()["tokenizer.json"], "test"),
            LoadTokenizerFiles(folder_ / "source").tokenizer);
}

// The head in 8 bits runs as one in 16 bits does, which is rounded as it is loaded; the embedding's
// error of 1/254 of a row's largest value goes through the model.
TEST(QuantizeCheckpoint, StoresHeadAndEmbeddingInEightBits) {
  const TempFolder folder;
  for (const std::string name : {"tiny-llama-bf16", "tiny-gpt-neox", "tiny-llama-f16"}) {
    const bool is_tied = name == "tiny-llama-f16";
    QuantRecipe recipe = Recipe(PolicyMode::kDynamic);
    recipe.head_bits = 16;
    const int64_t floats =
        Quantize(kModels / name, folder / "floats", recipe, 2, /*replace=*/true).output_bytes;
    const std::vector<float> expected = Logits(folder / "floats");
    int64_t bytes = floats;
    for (const bool embedding : {false, true}) {
      SCOPED_TRACE(fmt::format("{}, embedding {}", name, embedding));
      recipe.head_bits = 8;
      recipe.embedding_bits = embedding ? 8 : 16;
      const QuantizeReport report =
          Quantize(kModels / name, folder / "out", recipe, 2, /*replace=*/true);
      const ModelSource source = ModelSource::Open(folder / "out");
      EXPECT_EQ(source.packed_head().has_value(), !is_tied);
      EXPECT_EQ(source.embedding().packed.has_value(), embedding);
      EXPECT_EQ(source.config().tied_head, is_tied);
      EXPECT_TRUE(source.warnings().empty());
      EXPECT_EQ(source.config().dtype, ModelSource::Open(kModels / name).config().dtype);
      const int64_t matrix = source.config().vocab * source.config().hidden;
      bytes -= !is_tied || embedding ? matrix - 2 * source.config().vocab : 0;
      EXPECT_EQ(report.output_bytes, bytes);
      EXPECT_LT(RelativeError(Logits(folder / "out"), expected), embedding ? 0.1 : 0.02);
      const std::vector<Reader> readers = ReadersOf(source);
      EXPECT_EQ(readers[0].reads, !(is_tied && embedding)) << readers[0].reason;  // transformers
      EXPECT_EQ(readers[1].reads, !embedding) << readers[1].reason;               // vLLM on CPUs
      EXPECT_EQ(readers[2].reads, !embedding) << readers[2].reason;               // and on GPUs
    }
  }
}

TEST(QuantizeCheckpoint, LeavesTheHeadFloatBesideFloatActivations) {
  const TempFolder folder;
  QuantRecipe recipe = Recipe(PolicyMode::kDynamic);
  recipe.activation_bits = 16;
  Quantize(kModels / "tiny-llama-bf16", folder / "out", recipe);
  EXPECT_FALSE(ModelSource::Open(folder / "out").packed_head());
}

TEST(PlanCheckpoint, IsWhatQuantizingDecides) {
  const TempFolder folder;
  ThreadPool pool(2);
  const fs::path source = kModels / "tiny-llama-f32";
  QuantRecipe recipe = Recipe();
  recipe.v0 = 3;  // so that all schemes occur
  recipe.v1 = 8;
  recipe.bits = 5.5;
  const QuantizationPlan whole = PlanCheckpoint(source, recipe, pool, {});
  const std::vector<SitePolicy>& plan = whole.sites;
  const QuantizeReport report = Quantize(source, folder / "out", recipe);
  ASSERT_EQ(plan.size(), report.sites.size());
  ASSERT_EQ(plan.size(), 2u * kAllActSites.size());
  EXPECT_DOUBLE_EQ(whole.bits_per_weight, report.BitsPerWeight());
  std::vector<int> planned, rounded;
  for (const std::vector<int>& bits : whole.weight_bits)
    std::ranges::copy(bits, std::back_inserter(planned));
  for (const LinearReport& linear : report.linears)
    rounded.push_back(static_cast<int>(linear.bits));
  EXPECT_EQ(planned, rounded);
  for (size_t i = 0; i < plan.size(); ++i) {
    EXPECT_EQ(plan[i].choice, report.sites[i].choice);
    EXPECT_EQ(plan[i].range, report.sites[i].range);
    EXPECT_EQ(plan[i].scale, report.sites[i].scale);
    EXPECT_EQ(plan[i].scale == 0, plan[i].choice.scheme == ActScheme::kDynamic);
  }
  const Json sites = ReportToJson(report, recipe)["sites"];
  EXPECT_EQ(sites.size(), plan.size());
  for (const Json& site : sites) {
    const auto deciles = site["channel_maxima"].get<std::vector<float>>();
    ASSERT_EQ(deciles.size(), 11u);
    EXPECT_TRUE(std::ranges::is_sorted(deciles));
    EXPECT_EQ(deciles.back(), site["range"].get<float>());
    if (!site.contains("equalized_channel_maxima")) continue;
    EXPECT_EQ(site["equalized_channel_maxima"].back().get<float>(),
              site["equalized_range"].get<float>());
  }
}

TEST(QuantizeCheckpoint, NamesBadSources) {
  const TempFolder folder;
  EXPECT_ERROR("found a quantized one",
               Quantize(kModels / "tiny-llama-w4a8", folder / "out", Recipe()));
  EXPECT_FALSE(fs::exists(folder / "out"));
}

// Whatever it is in, and however far from what calibration meets: before any work, by the name of
// the tensor and the place.
TEST(QuantizeCheckpoint, FindsWhatIsNotFiniteFirst) {
  ThreadPool pool(2);
  const fs::path tiny = kModels / "tiny-llama-f32";
  const int64_t last_row = 287 * 64;  // of the embedding: a token that no text has
  for (const auto& [name, index] :
       std::map<std::string, int64_t>{{"model.embed_tokens.weight", last_row + 5},
                                      {"model.norm.weight", 63},
                                      {"model.layers.1.input_layernorm.weight", 0},
                                      {"model.layers.1.self_attn.v_proj.weight", 17},
                                      {"model.layers.0.mlp.down_proj.weight", 64 * 96 - 1}}) {
    for (const float bad : {NAN, INFINITY, -INFINITY}) {
      const TempFolder folder;
      CopyModel(tiny, folder / "bad",
                [&](Tensors& tensors) { tensors.at(name)[static_cast<size_t>(index)] = bad; });
      const std::string expected = fmt::format(
          "tensor '{}': expected finite values, found {} at "
          "index {}",
          name, bad, index);
      const Progress only_reads = [](std::string_view what, int64_t, int64_t) {
        EXPECT_EQ(what, "reading the source");
      };
      EXPECT_ERROR(expected, QuantizeCheckpoint(folder / "bad", folder / "out", Recipe(), {}, pool,
                                                only_reads));
      EXPECT_ERROR(expected, PlanCheckpoint(folder / "bad", Recipe(), pool, only_reads));
      EXPECT_ERROR(name, LoadModel(folder / "bad", pool));
      EXPECT_FALSE(fs::exists(folder / "out"));
      EXPECT_FALSE(fs::exists(folder / "out.partial"));
    }
  }
}

// An embedding in F16 makes F16 the type of the output: a norm in F32 may have what it cannot hold.
TEST(QuantizeCheckpoint, FindsWhatTheOutputCannotHoldFirst) {
  const TempFolder folder;
  EditModel(kModels / "tiny-llama-f16", folder / "bad", [](EditableModel& model) {
    std::vector<float> norm(64, 1.0f);
    norm[7] = 70000;
    model.Set("model.norm.weight", DataType::kF32, {64}, std::as_bytes(std::span(norm)));
  });
  EXPECT_ERROR("tensor 'model.norm.weight': expected values up to 65504, found 70000 at index 7",
               Quantize(folder / "bad", folder / "out", Recipe()));
}

// Tensors that the model does not use may hold what they like, as masks do.
TEST(QuantizeCheckpoint, LooksAtNothingThatTheModelDoesNotUse) {
  const TempFolder folder;
  EditModel(kModels / "tiny-llama-f32", folder / "source", [](EditableModel& model) {
    const float mask[] = {-INFINITY};
    model.Set("model.layers.0.self_attn.masked_bias", DataType::kF32, {1},
              std::as_bytes(std::span(mask)));
  });
  Quantize(folder / "source", folder / "out", Recipe(PolicyMode::kDynamic));
  EXPECT_FALSE(Checkpoint::Open(folder / "out")->Contains("model.layers.0.self_attn.masked_bias"));
}

// Sites whose K is no multiple of 32, one, some, in all their combinations with others.
TEST(QuantizeCheckpoint, LeavesFloatWhatNoGroupDivides) {
  const TempFolder folder;
  for (const LlamaSizes& sizes :
       {LlamaSizes{.mlp = 80}, LlamaSizes{.heads = 3}, LlamaSizes{.heads = 3, .mlp = 100}}) {
    for (const char* rounding : {"gptq", "weighted", "rtn"}) {
      const fs::path source_path = folder / "source", output = folder / "out";
      WriteLlama(kModels / "tiny-llama-f32", source_path, sizes);
      QuantRecipe recipe = Recipe(PolicyMode::kAuto);
      recipe.rounding = rounding;
      const ModelSource source = OpenFloatSource(source_path, recipe);
      const Forecast forecast = ForecastQuantization(source, recipe, 2, {1, 1, 1, 1, 1, 1, 1});
      const QuantizeReport report = Quantize(source_path, output, recipe);
      EXPECT_GE(forecast.output_bytes, report.output_bytes);
      EXPECT_LE(forecast.output_bytes, report.output_bytes + 14 * 4);  // input scales
      const auto checkpoint = Checkpoint::Open(output);
      const auto ignored =
          checkpoint->metadata()["quantization_config"]["ignore"].get<std::set<std::string>>();
      int64_t floats = 0;
      for (const SitePolicy& site : report.sites) {
        const int64_t k = SiteInputs(source.config(), site.site);
        EXPECT_EQ(site.quantizes_weights(), k % 32 == 0);
        EXPECT_EQ(site.choice.scheme == ActScheme::kFloat, k % 32 != 0);
        for (const LayerLinear& linear : LinearsOf(source.config(), site.layer)) {
          if (linear.site() != site.site) continue;
          const std::string name = ModelSource::HfName(linear);
          EXPECT_EQ(ignored.contains(name), k % 32 != 0) << name;
          EXPECT_EQ(checkpoint->Contains(name + ".weight"), k % 32 != 0) << name;
        }
        floats += k % 32 != 0;
      }
      ASSERT_FALSE(report.warnings.empty());
      EXPECT_NE(report.warnings[0].find("the weights stay float"), std::string::npos);
      EXPECT_EQ(floats, 2 * ((sizes.heads == 3) + (sizes.mlp != 96)));
      // 4 bits of random weights cost 0.1 of each linear's output.
      EXPECT_LT(RelativeError(Logits(output), Logits(source_path)), 0.4) << rounding;
      fs::remove_all(source_path);
      fs::remove_all(output);
    }
  }
  WriteLlama(kModels / "tiny-llama-f32", folder / "none", {.hidden = 48, .heads = 3, .mlp = 80});
  EXPECT_ERROR("expected a linear with a multiple of 32 inputs",
               Quantize(folder / "none", folder / "out", Recipe()));
}

// Calibration that shows next to nothing: one token, sequences of one token, a single word again
// and again. All of it is rounded, and nothing is static.
TEST(QuantizeCheckpoint, TakesCalibrationThatShowsNextToNothing) {
  const TempFolder folder;
  std::string words;
  for (int i = 0; i < 100; ++i) words += " the";
  QuantRecipe recipe = Recipe(PolicyMode::kAuto);
  recipe.rounding = "gptq";
  const fs::path source = kModels / "tiny-llama-f16";
  const std::vector<float> expected = Logits(source);
  const auto quantize = [&](const std::string& calibration, int64_t tokens, int64_t length) {
    recipe.calibration = calibration;
    recipe.calibration_tokens = tokens;
    recipe.sequence_length = length;
    const QuantizeReport report = Quantize(source, folder / "out", recipe);
    EXPECT_FALSE(report.CountChoices().contains("static")) << calibration;
    EXPECT_FALSE(report.CountChoices().contains("lae_static")) << calibration;
    for (const LinearReport& linear : report.linears) EXPECT_LT(linear.weight_error, 0.2);
    // Worse than with proper calibration, but far from what has nothing to do with the model: 1.4.
    EXPECT_LT(RelativeError(Logits(folder / "out"), expected), 0.7) << calibration << tokens;
    fs::remove_all(folder / "out");
  };
  quantize("self", 1, 64);
  quantize("random", 1, 1);
  quantize("random", 100, 1);
  quantize(folder.Write("word.txt", "the").string(), 4096, 64);
  quantize(folder.Write("words.txt", words).string(), 4096, 64);
}

TEST(QuantizeCheckpoint, ReplacesOnlyIfAsked) {
  const TempFolder folder;
  const fs::path source = kModels / "tiny-llama-f32";
  Quantize(source, folder / "out", Recipe());
  EXPECT_ERROR("out: already exists", Quantize(source, folder / "out", Recipe()));
  QuantRecipe recipe = Recipe();
  recipe.rounding = "rtn";
  Quantize(source, folder / "out", recipe, 1, /*replace=*/true);
  EXPECT_EQ(ReadJsonFile(folder / "out/fptq.json")["recipe"]["rounding"], "rtn");
  // A GGUF file gives other companions, all of which are ours, too.
  Quantize(kModels / "tiny-llama-gguf/model.gguf", folder / "out", recipe, 1, /*replace=*/true);
  Quantize(source, folder / "out", Recipe(), 1, /*replace=*/true);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder.path()), {}), 1);
}

TEST(QuantizeCheckpoint, ReplacesNothingThatItReadsOrDidNotWrite) {
  const TempFolder folder;
  Quantize(kModels / "tiny-llama-f32", folder / "out", Recipe());
  const auto refused = [&](const char* part, const fs::path& source, const std::string& text) {
    const auto before = FilesOf(folder / "out");
    QuantRecipe recipe = Recipe();
    if (!text.empty()) recipe.calibration = text;
    EXPECT_ERROR(part, Quantize(source, folder / "out", recipe, 1, /*replace=*/true));
    EXPECT_EQ(FilesOf(folder / "out"), before);
    EXPECT_FALSE(fs::exists(folder / "out.partial"));
  };
  refused("other than the source", folder / "out", "");
  refused("other than the source", kModels / "tiny-llama-f32", folder / "out/tokenizer.json");
  fs::rename(folder / "out/model.safetensors", folder / "out/a.gguf");
  refused("other than the source", folder / "out/a.gguf", "");
  refused("found 'a.gguf' in it", kModels / "tiny-llama-f32", "");
  // A source whose weights are a link into the output, as those of a cache of blobs are.
  fs::rename(folder / "out/a.gguf", folder / "out/model.safetensors");
  fs::copy(kModels / "tiny-llama-f32", folder / "source");
  fs::remove(folder / "source/model.safetensors");
  fs::create_symlink("../out/model.safetensors", folder / "source/model.safetensors");
  refused("other than the source", folder / "source", "");
}

// A limit on the size of files stands in for a full disk: write() fails in the same place.
TEST(QuantizeCheckpoint, LeavesNothingBehindOnAFullDisk) {
  const TempFolder folder;
  rlimit limit;
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &limit), 0);
  const rlimit small = {10000, limit.rlim_max};
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  const std::string message =
      ErrorOf([&] { Quantize(kModels / "tiny-llama-f32", folder / "out", Recipe()); });
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
  std::signal(SIGXFSZ, handler);
  EXPECT_NE(message.find("temporary file"), std::string::npos) << message;
  EXPECT_TRUE(fs::is_empty(folder.path()));
}

}  // namespace
}  // namespace fptq
