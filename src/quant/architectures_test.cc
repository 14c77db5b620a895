// Each architecture goes all the way: quantized, written, loaded, run.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <map>
#include <set>

#include "base/test_paths.h"
#include "base/test_util.h"
#include "io/safetensors.h"
#include "model/model.h"
#include "quant/named_recipes.h"
#include "quant/run/quantize.h"
#include "quant/testing.h"

namespace fptq {
namespace {

namespace fs = std::filesystem;
const fs::path kModels = fs::path(kTestdata) / "models";

fs::path ModelPath(const std::string& name) {
  return name.ends_with("-gguf") ? kModels / name / "model.gguf" : kModels / name;
}

void Quantize(const fs::path& source, const fs::path& output, QuantRecipe recipe) {
  recipe.calibration_tokens = 512;
  recipe.sequence_length = 64;
  ThreadPool pool(2);
  QuantizeCheckpoint(source, output, recipe, {}, pool, {});
}

std::vector<float> Logits(const fs::path& path) {
  return GoldenLogits(path, kModels / "tiny-bloom");
}

// Names of the tensors, those of a quantized linear as its one ".weight".
std::set<std::string> TensorNamesOf(const fs::path& folder) {
  std::set<std::string> names;
  const auto checkpoint = Checkpoint::Open(folder);
  for (const auto& item : checkpoint->tensors()) {
    std::string name = item.first;
    for (const std::string suffix : {"_packed", "_scale", "_shape", "_zero_point"}) {
      if (name.ends_with(".weight" + suffix)) name.resize(name.size() - suffix.size());
    }
    if (!name.ends_with(".input_scale")) names.insert(name);
  }
  return names;
}

class Architecture : public testing::TestWithParam<const char*> {};

TEST_P(Architecture, QuantizesAndRuns) {
  const TempFolder folder;
  const std::string name = GetParam();
  QuantRecipe recipe;
  recipe.rounding = "weighted";
  Quantize(ModelPath(name), folder / "out", recipe);
  const fs::path original = kModels / name.substr(0, name.find("-gguf"));
  EXPECT_EQ(TensorNamesOf(folder / "out"), TensorNamesOf(original));
  // Random weights have no redundancy: 4 bits cost 0.1 of each linear's output, and there are 7 or
  // 4 in each of the two layers.
  EXPECT_LT(RelativeError(Logits(folder / "out"), Logits(ModelPath(name))), 0.45);
}

INSTANTIATE_TEST_SUITE_P(
    Model, Architecture,
    testing::Values("tiny-bloom", "tiny-bloom-gguf", "tiny-llama3", "tiny-llama-linear-rope",
                    "tiny-mistral", "tiny-qwen2", "tiny-qwen3", "tiny-gpt-neox", "tiny-opt",
                    "tiny-gemma2", "tiny-gemma3", "tiny-phi3", "tiny-granite", "tiny-olmo2",
                    "tiny-smollm3", "tiny-mixtral", "tiny-mixtral-gguf", "tiny-qwen2-moe",
                    "tiny-qwen3-moe", "tiny-qwen3-moe-gguf", "tiny-falcon", "tiny-falcon-grouped",
                    "tiny-falcon-grouped-gguf", "tiny-falcon-rw", "tiny-gpt2", "tiny-gpt2-gguf"));

// tiny-bloom with two channels of each norm multiplied by `factor`, weight and bias, and the
// weights that they meet divided by it: the same function, with BLOOM's outliers in the
// activations. F32, so that it is the same indeed.
void PlantOutliers(float factor, const fs::path& to) {
  CopyModel(kModels / "tiny-bloom", to, [&](Tensors& tensors) {
    for (int layer = 0; layer < 2; ++layer) {
      const std::string prefix = fmt::format("transformer.h.{}.", layer);
      const auto plant = [&](const std::string& norm, const std::string& linear) {
        std::vector<float>& matrix = tensors.at(prefix + linear + ".weight");
        std::vector<float>& weight = tensors.at(prefix + norm + ".weight");
        for (const size_t channel : {size_t{5}, size_t{40}}) {
          weight[channel] *= factor;
          tensors.at(prefix + norm + ".bias")[channel] *= factor;
          for (size_t i = channel; i < matrix.size(); i += weight.size()) matrix[i] /= factor;
        }
      };
      plant("input_layernorm", "self_attention.query_key_value");
      plant("post_attention_layernorm", "mlp.dense_h_to_4h");
    }
  });
}

TEST(Bloom, KeepsItsLogitsUnderOutliersWhereStaticAndRtnLoseThem) {
  const TempFolder folder;
  const fs::path plain = kModels / "tiny-bloom", planted = folder / "planted";
  PlantOutliers(100, planted);
  const std::vector<float> expected = Logits(plain);
  ASSERT_LT(RelativeError(Logits(planted), expected), 1e-5);
  const auto error = [&](const QuantRecipe& recipe, const fs::path& source) {
    const TempFolder out;
    Quantize(source, out / "out", recipe);
    return RelativeError(Logits(out / "out"), expected);
  };
  QuantRecipe automatic, paper, statics;
  automatic.rounding = paper.rounding = statics.rounding = "weighted";
  paper.policy = PolicyMode::kPaper;
  paper.v1 = 1000;  // the outliers reach 300: what published models have, but smaller ones too
  statics.policy = PolicyMode::kStatic;
  statics.equalization = Equalization::kNone;
  QuantRecipe rtn = LoadRecipe("rtn", "test");
  // 0.10 is what 4-bit weights cost here, 0.13 to nearest.
  for (QuantRecipe* recipe : {&automatic, &paper, &statics, &rtn}) {
    EXPECT_LT(error(*recipe, plain), 0.15);
  }
  // Found: 0.12, 0.12, 0.43 and 0.26.
  EXPECT_LT(error(automatic, planted), 0.15);
  EXPECT_LT(error(paper, planted), 0.15);
  EXPECT_GT(error(statics, planted), 0.3);
  EXPECT_GT(error(rtn, planted), 0.2);
}

}  // namespace
}  // namespace fptq
