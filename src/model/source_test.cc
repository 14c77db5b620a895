#include "model/source.h"

#include <gtest/gtest.h>

#include <cstring>
#include <functional>

#include "base/json.h"
#include "base/test_util.h"
#include "model/testing.h"

namespace fptq {
namespace {

namespace fs = std::filesystem;

const fs::path kTiny = fs::path(FPTQ_TESTDATA) / "models" / "tiny-llama-f32";
const fs::path kTinyGguf = fs::path(FPTQ_TESTDATA) / "models" / "tiny-llama-gguf" / "model.gguf";

// The error of opening the tiny model after a change of its config.
std::string OpenError(const std::function<void(Json&)>& change) {
  TempFolder folder;
  fs::copy(kTiny, folder.path(),
           fs::copy_options::recursive | fs::copy_options::overwrite_existing);
  Json config = ReadJsonFile(kTiny / "config.json");
  change(config);
  folder.Write("config.json", config.dump());
  std::string error = ErrorOf([&] { ModelSource::Open(folder.path()); });
  if (const size_t at = error.find(folder.path().string()); at != std::string::npos) {
    error.replace(at, folder.path().string().size(), "DIR");
  }
  return error;
}

TEST(ModelSource, ReadsConfig) {
  const ModelSource source = ModelSource::Open(kTiny);
  EXPECT_EQ(source.config().hidden, 64);
  EXPECT_EQ(source.config().layers, 2);
  EXPECT_EQ(source.config().kv_heads, 1);
  EXPECT_EQ(source.config().dtype, DataType::kF32);
  EXPECT_EQ(source.config().eos_tokens, std::vector<int32_t>{2});
  EXPECT_TRUE(source.config().tied_head);
  EXPECT_FALSE(source.quantized());
}

// What a GGUF file says, written as config.json and parsed again, is the same model.
TEST(ModelSource, ConfigOfGgufSurvivesTheWayThroughConfigJson) {
  const ModelSource source = ModelSource::Open(kTinyGguf);
  const Json json = source.HfConfig();
  const ModelConfig parsed = source.arch().config_from_hf(JsonFields(json, "config.json"));
  EXPECT_EQ(parsed.layers, source.config().layers);
  EXPECT_EQ(parsed.hidden, source.config().hidden);
  EXPECT_EQ(parsed.heads, source.config().heads);
  EXPECT_EQ(parsed.kv_heads, source.config().kv_heads);
  EXPECT_EQ(parsed.head_dim, source.config().head_dim);
  EXPECT_EQ(parsed.mlp, source.config().mlp);
  EXPECT_EQ(parsed.vocab, source.config().vocab);
  EXPECT_EQ(parsed.max_positions, source.config().max_positions);
  EXPECT_EQ(parsed.norm_epsilon, source.config().norm_epsilon);
  EXPECT_EQ(parsed.rope_theta, source.config().rope_theta);
  EXPECT_EQ(parsed.tied_head, source.config().tied_head);
}

TEST(ModelSource, RejectsBadConfigs) {
  EXPECT_EQ(OpenError([](Json& c) { c["num_key_value_heads"] = 3; }),
            "DIR/config.json: number of attention heads: expected a multiple of the 3 key-value "
            "heads, found 4");
  EXPECT_EQ(OpenError([](Json& c) { c["num_hidden_layers"] = 1'000'000'000; }),
            "DIR/config.json: number of layers: expected 1 to 10000, found 1000000000");
  EXPECT_EQ(OpenError([](Json& c) { c["num_hidden_layers"] = 0; }),
            "DIR/config.json: number of layers: expected 1 to 10000, found 0");
  EXPECT_EQ(OpenError([](Json& c) { c["model_type"] = "mamba"; }),
            "DIR/config.json: architecture 'mamba' is not supported; supported: bloom, "
            "gpt_neox, llama, mistral, opt, qwen2, qwen3");
  EXPECT_EQ(OpenError([](Json& c) {
              c["rope_scaling"] = {{"rope_type", "yarn"}, {"factor", 4.0}};
            }),
            "DIR/config.json: rope_scaling: rope scaling: expected type default, linear or llama3, "
            "found 'yarn'");
  EXPECT_EQ(
      OpenError([](Json& c) { c["hidden_act"] = "quick_gelu"; }),
      "DIR/config.json: hidden_act: expected one of silu, swish, gelu, gelu_python, gelu_new, "
      "gelu_fast, gelu_accurate, gelu_pytorch_tanh, gelu_python_tanh, relu, found "
      "'quick_gelu'");
}

TEST(ModelSource, RejectsConfigsThatDoNotFitTheTensors) {
  EXPECT_NE(OpenError([](Json& c) { c["vocab_size"] = 300; }).find("model.embed_tokens.weight"),
            std::string::npos);
  EXPECT_NE(OpenError([](Json& c) { c["intermediate_size"] = 128; }).find("mlp.gate_proj.weight"),
            std::string::npos);
  EXPECT_NE(OpenError([](Json& c) { c["num_hidden_layers"] = 3; }).find("model.layers.2"),
            std::string::npos);
  EXPECT_NE(OpenError([](Json& c) { c["num_hidden_layers"] = 2.5; }).find("num_hidden_layers"),
            std::string::npos);
  EXPECT_NE(OpenError([](Json& c) { c["hidden_size"] = -64; }).find("hidden_size"),
            std::string::npos);
  EXPECT_NE(OpenError([](Json& c) { c.erase("hidden_size"); }).find("hidden_size"),
            std::string::npos);
}

// The tensors count, not what config.json says of them; what is written says what is.
TEST(ModelSource, TensorsSayWhetherTheHeadIsTied) {
  const auto open = [](bool tied, float factor) {  // factor 0: no lm_head
    const TempFolder folder;
    EditModel(kTiny, folder.path(), [&](EditableModel& model) {
      model.config["tie_word_embeddings"] = tied;
      if (factor == 0) return;
      EditableModel::Tensor head = model.tensors["model.embed_tokens.weight"];
      std::vector<float> values(head.bytes.size() / 4);
      std::memcpy(values.data(), head.bytes.data(), head.bytes.size());
      for (float& value : values) value *= factor;
      model.Set("lm_head.weight", DataType::kF32, head.shape, std::as_bytes(std::span(values)));
    });
    return ModelSource::Open(folder.path());
  };
  const auto warning = [](const ModelSource& source) {
    EXPECT_LE(source.warnings().size(), 1u);
    return source.warnings().empty() ? "" : source.warnings()[0];
  };
  struct Case {
    bool says_tied;
    float factor;
    bool tied;
    std::string_view warning;
  };
  for (const Case& c :
       {Case{true, 0, true, ""}, Case{true, 1, true, ""},
        Case{true, -1, false, "'lm_head.weight' is not the embedding"}, Case{false, -1, false, ""},
        Case{false, 1, false, ""}, Case{false, 0, true, "there is no tensor 'lm_head.weight'"}}) {
    SCOPED_TRACE(fmt::format("says {}, lm_head {}", c.says_tied, c.factor));
    const ModelSource source = open(c.says_tied, c.factor);
    EXPECT_EQ(source.config().tied_head, c.tied);
    EXPECT_EQ(source.HfConfig()["tie_word_embeddings"], c.tied);
    EXPECT_EQ(warning(source).empty(), c.warning.empty());
    EXPECT_NE(warning(source).find(c.warning), std::string::npos) << warning(source);
  }
}

TEST(ModelSource, NamesTheTensorWithNan) {
  TempFolder folder;
  fs::copy(kTiny, folder.path(),
           fs::copy_options::recursive | fs::copy_options::overwrite_existing);
  const ModelSource source = ModelSource::Open(folder.path());
  const std::string name = "model.layers.1.mlp.down_proj.weight";
  // Overwrite the last element of the tensor with NaN (0x7FC00000) in the file that holds it.
  std::string file = ReadFile(folder / "model.safetensors");
  const auto bytes = source.checkpoint().Get(name).bytes;
  const size_t at =
      file.find(std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size())) +
      bytes.size();
  file.replace(at - 4, 4, std::string("\x00\x00\xC0\x7F", 4));
  folder.Write("model.safetensors", file);
  const std::string error = ErrorOf([&] { ModelSource::Open(folder.path()).ReadLayer(1); });
  EXPECT_NE(error.find(name), std::string::npos) << error;
}

}  // namespace
}  // namespace fptq
