#include "quant/quantize.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <cmath>
#include <csignal>
#include <functional>
#include <map>

#include "base/test_util.h"
#include "io/packed_linear.h"
#include "io/safetensors.h"
#include "model/model.h"
#include "quant/testing.h"

namespace fptq {
namespace {

namespace fs = std::filesystem;
const fs::path kModels = fs::path(FPTQ_TESTDATA) / "models";

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

TEST(QuantizeCheckpoint, StoresQuantizedWeights) {
  const TempFolder folder;
  const fs::path source_path = kModels / "tiny-llama-f16";
  const QuantizeReport report = Quantize(source_path, folder / "out", Recipe(PolicyMode::kDynamic));
  const ModelSource source = ModelSource::Open(source_path);
  const auto output = Checkpoint::Open(folder / "out");
  const auto quantization =
      CompressedTensorsConfig::Parse(output->metadata()["quantization_config"], "out");
  EXPECT_EQ(quantization.Find("lm_head"), std::nullopt);
  size_t linears = 0;
  for (int64_t layer = 0; layer < source.config().layers; ++layer) {
    for (const std::vector<SourceLinear>& site : source.ReadLayer(layer).linears) {
      for (const SourceLinear& linear : site) {
        const LinearQuantization how = quantization.Find(linear.name).value();
        EXPECT_EQ(how.activations, ActivationQuantization::kDynamicToken);
        const PackedLinear packed =
            GetPackedLinear(*output, linear.name, how, linear.channels, linear.k);
        std::vector<int8_t> q(static_cast<size_t>(linear.k));
        std::vector<float> scales(static_cast<size_t>(linear.k / how.group_size));
        std::vector<int8_t> zeros(scales.size());
        double error = 0, norm = 0;
        for (int64_t n = 0; n < linear.channels; ++n) {
          packed.ReadRow(n, q, zeros, scales);
          for (int64_t j = 0; j < linear.k; ++j) {
            const float w = linear.weight[n * linear.k + j];
            const float scale = scales[static_cast<size_t>(j / how.group_size)];
            const auto stored = static_cast<float>(q[static_cast<size_t>(j)]);
            ASSERT_EQ(stored, std::clamp(std::nearbyint(w / scale), -8.0f, 7.0f));
            error += std::pow(w - scale * stored, 2);
            norm += std::pow(w, 2);
          }
        }
        // 4 bits over groups of 32 or 64 normal weights: about 0.08.
        EXPECT_LT(std::sqrt(error / norm), 0.12) << linear.name;
        EXPECT_EQ(report.linears[linears++].name, linear.name);
      }
    }
  }
  EXPECT_EQ(report.linears.size(), linears);
  EXPECT_EQ(report.output_bytes, output->TensorBytes());
  EXPECT_EQ(ReadFloats(*output, "model.embed_tokens.weight"),
            ReadFloats(source.checkpoint(), "model.embed_tokens.weight"));
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

TEST(PlanCheckpoint, IsWhatQuantizingDecides) {
  const TempFolder folder;
  ThreadPool pool(2);
  const fs::path source = kModels / "tiny-llama-f32";
  QuantRecipe recipe = Recipe();
  recipe.v0 = 3;  // so that all schemes occur
  recipe.v1 = 8;
  const std::vector<SitePolicy> plan = PlanCheckpoint(source, recipe, pool, {}).sites;
  const QuantizeReport report = Quantize(source, folder / "out", recipe);
  ASSERT_EQ(plan.size(), report.sites.size());
  ASSERT_EQ(plan.size(), 2u * kActSites);
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
  const auto expect_error = [&](const char* part, const fs::path& source) {
    EXPECT_ERROR(part, Quantize(source, folder / "out", Recipe()));
    EXPECT_FALSE(fs::exists(folder / "out"));
  };
  expect_error("found a quantized one", kModels / "tiny-llama-w4a8");
  CopyModel(kModels / "tiny-llama-f32", folder / "nan",
            [](Tensors& tensors) { tensors.at("model.layers.1.mlp.up_proj.weight")[17] = NAN; });
  expect_error("model.layers.1.mlp.up_proj.weight", folder / "nan");
  CopyModel(kModels / "tiny-llama-f32", folder / "inf",
            [](Tensors& tensors) { tensors.at("model.embed_tokens.weight")[3] = INFINITY; });
  expect_error("finite", folder / "inf");
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
