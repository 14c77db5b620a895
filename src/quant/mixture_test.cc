// Mixtures of experts are quantized expert by expert.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <numeric>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/test_paths.h"
#include "base/test_util.h"
#include "model/model.h"
#include "quant/calibrate/hidden_states.h"
#include "quant/calibrate/layer_pass.h"
#include "quant/run/forecast.h"
#include "quant/run/quantize.h"
#include "quant/testing.h"

namespace fptq {
namespace {

namespace fs = std::filesystem;
const fs::path kModels = fs::path(kTestdata) / "models";

QuantRecipe Recipe(const std::string& rounding = "weighted") {
  QuantRecipe recipe;
  recipe.rounding = rounding;
  recipe.calibration_tokens = 1024;
  recipe.sequence_length = 64;
  return recipe;
}

QuantizeReport Quantize(const fs::path& source, const fs::path& output, const QuantRecipe& recipe,
                        int threads = 2) {
  ThreadPool pool(threads);
  return QuantizeCheckpoint(source, output, recipe, {}, pool, {});
}

std::map<std::string, int64_t> LinearBits(const QuantizeReport& report) {
  std::map<std::string, int64_t> bits;
  for (const LinearReport& linear : report.linears) bits[linear.name] = linear.bits;
  return bits;
}

TEST(Mixture, LeavesTheRouterFloatAndSaysSo) {
  const TempFolder folder;
  const QuantizeReport report = Quantize(kModels / "tiny-qwen2-moe", folder / "out", Recipe());
  const auto checkpoint = Checkpoint::Open(folder / "out");
  const auto source = Checkpoint::Open(kModels / "tiny-qwen2-moe");
  const auto ignored =
      checkpoint->metadata()["quantization_config"]["ignore"].get<std::vector<std::string>>();
  for (const std::string layer : {"model.layers.0.", "model.layers.2."}) {
    for (const std::string name : {"mlp.gate", "mlp.shared_expert_gate"}) {
      EXPECT_NE(std::ranges::find(ignored, layer + name), ignored.end()) << layer << name;
      EXPECT_TRUE(SameContent(checkpoint->Get(layer + name + ".weight"),
                              source->Get(layer + name + ".weight")));
    }
  }
  // Three layers: attention with three sites, and an MLP, or six experts and a shared one.
  EXPECT_EQ(report.sites.size(), 3 * 3 + 1 + 2 * 7);
  EXPECT_EQ(report.linears.size(), 3 * 4 + 3 + 2 * 3 * 7);
  EXPECT_EQ(SiteName(report.sites[3].site), "mlp_mid.0");
  EXPECT_EQ(SiteName(report.sites[9].site), "mlp_mid.shared");
  EXPECT_EQ(SiteName(report.sites[13].site), "mlp_mid");
}

TEST(Mixture, GivesTheSameFilesOnAnyNumberOfThreads) {
  const TempFolder folder;
  for (const std::string rounding : {"weighted", "gptq"}) {
    const fs::path one = folder / (rounding + "1"), three = folder / (rounding + "3");
    Quantize(kModels / "tiny-qwen3-moe", one, Recipe(rounding), 1);
    Quantize(kModels / "tiny-qwen3-moe", three, Recipe(rounding), 3);
    for (const char* name : {"model.safetensors", "config.json", "fptq.json"}) {
      EXPECT_EQ(ReadFile(one / name), ReadFile(three / name)) << rounding << " " << name;
    }
  }
}

// What quantization measures is what the engine computes: layers run expert by expert over all
// sequences, and all at once in a forward pass.
TEST(Mixture, RunsInPartsAsInOne) {
  const ModelSource source = ModelSource::Open(kModels / "tiny-qwen2-moe");
  ThreadPool pool(2);
  const CalibrationSet set = {{{1, 5, 9, 2, 77, 31, 8, 4}, {3, 3, 60, 12, 45}}};
  HiddenStates whole(source, set, {}, pool), parts(source, set, {}, pool);
  for (int64_t layer = 0; layer < source.config().layers; ++layer) {
    whole.Advance(ReadFloatLayer(source, layer, pool), layer, /*observer=*/nullptr);
    std::vector<int64_t> rows;
    RunLayer(source, layer, {}, parts, pool,
             [&](const LayerPart& part, const LayerStatistics& statistics) {
               if (part.mlp) rows.push_back(statistics[0].rows);
             });
    for (size_t i = 0; i < set.sequences.size(); ++i) {
      EXPECT_TRUE(std::ranges::equal(whole.states()[i], parts.states()[i])) << layer;
    }
    if (!source.config().is_mixture(layer)) continue;
    ASSERT_EQ(rows.size(), 7u);
    EXPECT_EQ(rows[6], 13);  // the shared one
    EXPECT_EQ(std::accumulate(rows.begin(), rows.end() - 1, int64_t{0}), 13 * 3);
  }
}

// The routers of tiny-qwen3-moe with the rows of expert 5 so that no token takes it.
void Unreach(const fs::path& to) {
  CopyModel(kModels / "tiny-qwen3-moe", to, [](Tensors& tensors) {
    for (const std::string layer : {"model.layers.0.", "model.layers.1."}) {
      std::vector<float>& router = tensors.at(layer + "mlp.gate.weight");
      const std::vector<float>& norm = tensors.at(layer + "post_attention_layernorm.weight");
      const size_t k = norm.size();
      // The other rows in pairs of opposite sign: one of each is above 0, and expert 5's is 0.
      for (size_t j = 0; j < k; ++j) {
        for (const auto& [a, b] : {std::pair<size_t, size_t>{0, 1}, {2, 3}, {6, 7}}) {
          router[b * k + j] = -router[a * k + j];
        }
        router[5 * k + j] = 0;
      }
    }
  });
}

TEST(Mixture, RoundsAnExpertThatNoTokenReachesWithoutActivations) {
  const TempFolder folder;
  Unreach(folder / "source");
  for (const std::string rounding : {"rtn", "weighted", "gptq"}) {
    for (const PolicyMode policy : {PolicyMode::kAuto, PolicyMode::kPaper, PolicyMode::kStatic}) {
      QuantRecipe recipe = Recipe(rounding);
      recipe.policy = policy;
      const TempFolder output;
      const QuantizeReport report = Quantize(folder / "source", output / "out", recipe);
      bool is_named = false;
      for (const std::string& warning : report.warnings) {
        is_named |= warning.find("rounded without activations") != std::string::npos &&
                    warning.find("0/mlp_mid.5, 1/mlp_mid.5") != std::string::npos;
      }
      EXPECT_TRUE(is_named) << rounding;
      const auto site = std::ranges::find_if(report.sites, [](const SitePolicy& policy_of) {
        return policy_of.layer == 1 && SiteName(policy_of.site) == "mlp_mid.5";
      });
      ASSERT_NE(site, report.sites.end());
      EXPECT_EQ(site->range, 0);
      EXPECT_EQ(site->choice.scheme, ActScheme::kDynamic);
      EXPECT_TRUE(std::ranges::all_of(report.linears, [](const LinearReport& linear) {
        return linear.weight_error > 0 && linear.weight_error < 0.3;
      }));
      ThreadPool pool(2);
      LoadModel(output / "out", pool);
    }
  }
}

TEST(Mixture, GoesOnWhereItWasInterrupted) {
  const TempFolder folder;
  const fs::path source = kModels / "tiny-qwen2-moe";
  Quantize(source, folder / "whole", Recipe());
  ThreadPool pool(2);
  struct Stop {};
  const Progress stop = [](std::string_view what, int64_t done, int64_t) {
    if (what == "quantizing" && done == 36) throw Stop();  // in the dense layer
  };
  EXPECT_THROW(QuantizeCheckpoint(source, folder / "out", Recipe(), {}, pool, stop), Stop);
  const QuantizeReport report = Quantize(source, folder / "out", Recipe());
  EXPECT_EQ(report.resumed_layers, 1);
  for (const char* name : {"model.safetensors", "config.json", "fptq.json"}) {
    EXPECT_EQ(ReadFile(folder / "whole" / name), ReadFile(folder / "out" / name)) << name;
  }
}

// What a linear takes is what those of all experts together take: gate_proj is not rounded to 8
// bits because there are many of them.
TEST(Mixture, AllExpertsHaveOneFormat) {
  const TempFolder folder;
  QuantRecipe recipe = Recipe();
  recipe.bits = 4.9;
  const auto bits = LinearBits(Quantize(kModels / "tiny-qwen3-moe", folder / "out", recipe));
  EXPECT_EQ(bits.at("model.layers.0.self_attn.v_proj"), 8);
  for (const char* linear : {"3.gate_proj", "3.down_proj", "7.up_proj"}) {
    EXPECT_EQ(bits.at(fmt::format("model.layers.0.mlp.experts.{}", linear)), 4);
  }
}

TEST(Mixture, PlanAndForecastAreOfWhatIsWritten) {
  const TempFolder folder;
  ThreadPool pool(2);
  for (const std::string name : {"tiny-mixtral", "tiny-qwen2-moe", "tiny-qwen3-moe"}) {
    const ModelSource source = ModelSource::Open(kModels / name);
    const QuantizeReport report = Quantize(kModels / name, folder / name, Recipe());
    const std::vector<SitePolicy> plan = PlanCheckpoint(kModels / name, Recipe(), pool, {}).sites;
    ASSERT_EQ(plan.size(), report.sites.size());
    for (size_t i = 0; i < plan.size(); ++i) {
      EXPECT_EQ(plan[i].choice, report.sites[i].choice);
      EXPECT_EQ(plan[i].range, report.sites[i].range);
    }
    const Forecast forecast = ForecastQuantization(source, Recipe(), 2, {1, 1, 1, 1, 1, 1, 1});
    const int64_t input_scales = std::ssize(report.linears) * 2;  // of static sites, in BF16
    EXPECT_GE(forecast.output_bytes, report.output_bytes) << name;
    EXPECT_LE(forecast.output_bytes, report.output_bytes + input_scales) << name;
  }
}

}  // namespace
}  // namespace fptq
