// Biases: who has them, and that config.json says so.
#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/test_paths.h"
#include "base/test_util.h"
#include "files/json_file.h"
#include "io/gguf_test_util.h"
#include "model/model.h"
#include "quant/run/quantize.h"
#include "quant/testing.h"

namespace fptq {
namespace {

namespace fs = std::filesystem;
const fs::path kModels = fs::path(kTestdata) / "models";

std::vector<float> Bias(int64_t channels, int seed) {
  std::vector<float> bias;
  for (int64_t i = 0; i < channels; ++i) {
    bias.push_back(static_cast<float>((i * 7 + seed) % 11 - 5) / 16);  // exact in every 16-bit type
  }
  return bias;
}

// Adds biases to the same linears of tiny-llama-f16, as `hf`, and tiny-llama-gguf, as `gguf`: of
// layer 0 all that `all` asks for, of layer 1 none of the attention.
struct Linear {
  const char* hf;
  const char* gguf;
  int64_t channels;
  int64_t pairs;  // of each head, stored as neighbours in the GGUF file; 0: rows as in the other
};
const Linear kAttention[] = {{"self_attn.q_proj", "attn_q", 128, 16},
                             {"self_attn.k_proj", "attn_k", 64, 16},
                             {"self_attn.v_proj", "attn_v", 64, 0}};
const Linear kMlp[] = {{"mlp.gate_proj", "ffn_gate", 96, 0}, {"mlp.down_proj", "ffn_down", 64, 0}};

void AddBias(const Linear& linear, int layer, Tensors& hf, GgufModel& gguf) {
  const std::string name = std::to_string(layer) + ".";
  const std::vector<float> bias = Bias(linear.channels, layer + static_cast<int>(linear.hf[0]));
  hf["model.layers." + name + linear.hf + ".bias"] = bias;
  std::vector<float> stored = bias;
  for (int64_t i = 0; linear.pairs > 0 && i < linear.channels; ++i) {
    const int64_t width = 2 * linear.pairs, in_head = i % width;
    stored[static_cast<size_t>(i - in_head + in_head % linear.pairs * 2 + in_head / linear.pairs)] =
        bias[static_cast<size_t>(i)];
  }
  gguf.AddTensor("blk." + name + linear.gguf + ".bias", stored);
}

std::vector<float> Logits(const fs::path& path) {
  return GoldenLogits(path, kModels / "tiny-llama-f16");
}

// transformers has all biases of a kind or none: those that the file lacks are zeros.
TEST(Bias, OfGgufIsThatOfTheFolderWhoseConfigSaysSo) {
  const TempFolder folder;
  CopyModel(kModels / "tiny-llama-f16", folder / "hf", [&](Tensors& hf) {
    EditGguf(kModels / "tiny-llama-gguf/model.gguf", folder / "m.gguf", [&](GgufModel& gguf) {
      for (const Linear& linear : kAttention) AddBias(linear, /*layer=*/0, hf, gguf);
      for (const Linear& linear : kMlp) AddBias(linear, /*layer=*/1, hf, gguf);
    });
    for (const std::string layer : {"model.layers.0.", "model.layers.1."}) {
      for (const Linear& linear : kAttention) {
        hf[layer + linear.hf + ".bias"].resize(static_cast<size_t>(linear.channels));
      }
      hf[layer + "self_attn.o_proj.bias"] = std::vector<float>(64);
      for (const Linear& linear : kMlp) {
        hf[layer + linear.hf + ".bias"].resize(static_cast<size_t>(linear.channels));
      }
      hf[layer + "mlp.up_proj.bias"] = std::vector<float>(96);
    }
  });
  Json config = ReadJsonFile(folder / "hf/config.json");
  config["attention_bias"] = true;
  config["mlp_bias"] = true;
  folder.Write("hf/config.json", config.dump());
  EXPECT_EQ(Logits(folder / "m.gguf"), Logits(folder / "hf"));
  EXPECT_NE(Logits(folder / "m.gguf"), Logits(kModels / "tiny-llama-f16"));

  QuantRecipe recipe;
  recipe.calibration_tokens = 128;
  recipe.sequence_length = 64;
  recipe.rounding = "rtn";
  ThreadPool pool(2);
  QuantizeCheckpoint(folder / "m.gguf", folder / "out", recipe, {}, pool, {});
  const Json written = ReadJsonFile(folder / "out/config.json");
  EXPECT_EQ(written["attention_bias"], true);
  EXPECT_EQ(written["mlp_bias"], true);
  const auto checkpoint = Checkpoint::Open(folder / "out");
  const std::string layer = "model.layers.0.";
  EXPECT_EQ(ReadFloats(*checkpoint, layer + "self_attn.q_proj.bias"),
            Bias(128, static_cast<int>('s')));
  EXPECT_EQ(ReadFloats(*checkpoint, layer + "self_attn.o_proj.bias"), std::vector<float>(64));
  EXPECT_EQ(ReadFloats(*checkpoint, layer + "mlp.up_proj.bias"), std::vector<float>(96));
}

TEST(Bias, ConfigAndTensorsMustAgree) {
  const auto open = [](const char* name, const Json& change, const std::string& add = "",
                       const std::string& remove = "") {
    const TempFolder folder;
    CopyModel(kModels / name, folder / "m", [&](Tensors& tensors) {
      if (!add.empty()) tensors[add] = Bias(64, 1);
      if (!remove.empty()) {
        const auto bias = tensors.extract(remove);
        ASSERT_FALSE(bias.empty());
      }
    });
    Json config = ReadJsonFile(folder / "m/config.json");
    config.update(change);
    folder.Write("m/config.json", config.dump());
    return fmt::format("{}", fmt::join(ModelSource::Open(folder / "m").warnings(), "\n"));
  };
  const auto expect_warning = [&](const std::string& tensor, const std::string& warnings) {
    EXPECT_NE(warnings.find(tensor), std::string::npos) << tensor << ": " << warnings;
  };
  const std::string layer = "model.layers.1.";
  EXPECT_ERROR("q_proj.bias' is missing", open("tiny-llama-f32", {{"attention_bias", true}}));
  EXPECT_ERROR("gate_proj.bias' is missing", open("tiny-llama-f32", {{"mlp_bias", true}}));
  EXPECT_ERROR("q_proj.bias' is missing", open("tiny-qwen3", {{"attention_bias", true}}));
  for (const std::string name : {"tiny-llama-f32", "tiny-mistral", "tiny-qwen2", "tiny-qwen3"}) {
    for (const std::string module : {"self_attn.o_proj", "mlp.down_proj"}) {
      expect_warning(module + ".bias",
                     open(name.c_str(), Json::object(), layer + module + ".bias"));
    }
  }
  EXPECT_ERROR("v_proj.bias' is missing",
               open("tiny-qwen2", Json::object(), "", layer + "self_attn.v_proj.bias"));
  expect_warning("query_key_value.bias", open("tiny-gpt-neox", {{"attention_bias", false}}));
  EXPECT_ERROR("fc2.bias' is missing",
               open("tiny-opt", Json::object(), "", "model.decoder.layers.1.fc2.bias"));
  expect_warning(".bias", open("tiny-opt", {{"enable_bias", false}}));
}

}  // namespace
}  // namespace fptq
