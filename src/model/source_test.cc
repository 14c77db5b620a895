#include "model/source.h"

#include <gtest/gtest.h>

#include <cstring>
#include <functional>

#include "base/json.h"
#include "base/test_paths.h"
#include "base/test_util.h"
#include "files/json_file.h"
#include "model/model_text.h"
#include "model/testing.h"
#include "model/weights/float_layer.h"

namespace fptq {
namespace {

namespace fs = std::filesystem;

const fs::path kTiny = fs::path(kTestdata) / "models" / "tiny-llama-f32";
const fs::path kTinyGguf = fs::path(kTestdata) / "models" / "tiny-llama-gguf" / "model.gguf";

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
  EXPECT_EQ(parsed.rope, source.config().rope);
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
            "DIR/config.json: architecture 'mamba' is not supported; supported: bloom, falcon, "
            "gemma2, gemma3_text, gpt2, gpt_neox, granite, llama, mistral, mixtral, olmo2, opt, "
            "phi3, qwen2, qwen2_moe, qwen3, qwen3_moe, smollm3");
  EXPECT_EQ(OpenError([](Json& c) {
              c["rope_scaling"] = {{"rope_type", "ntk"}, {"factor", 4.0}};
            }),
            "DIR/config.json: rope_scaling: rope scaling: expected type default, dynamic, linear, "
            "llama3, yarn or longrope, found 'ntk'");
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
        Case{true, -1, false, "lm_head: is not the embedding"}, Case{false, -1, false, ""},
        Case{false, 1, false, ""}, Case{false, 0, true, "lm_head: is missing"}}) {
    SCOPED_TRACE(fmt::format("says {}, lm_head {}", c.says_tied, c.factor));
    const ModelSource source = open(c.says_tied, c.factor);
    EXPECT_EQ(source.config().tied_head, c.tied);
    EXPECT_EQ(source.HfConfig()["tie_word_embeddings"], c.tied);
    EXPECT_EQ(warning(source).empty(), c.warning.empty());
    EXPECT_NE(warning(source).find(c.warning), std::string::npos) << warning(source);
  }
}

// A quantized lm_head, its float weight gone.
void QuantizeHead(EditableModel& model) {
  const auto& shape = model.tensors["model.embed_tokens.weight"].shape;
  const std::vector<int32_t> words(static_cast<size_t>(shape[0] * shape[1] / 8), 0x12345678);
  const int64_t groups = shape[1] / 32;
  const std::vector<float> scales(static_cast<size_t>(shape[0] * groups), 0.01f);
  model.Set("lm_head.weight_packed", DataType::kI32, {shape[0], shape[1] / 8},
            std::as_bytes(std::span(words)));
  model.Set("lm_head.weight_scale", DataType::kF32, {shape[0], groups},
            std::as_bytes(std::span(scales)));
  model.Set("lm_head.weight_shape", DataType::kI64, {2}, std::as_bytes(std::span(shape)));
}

TEST(ModelSource, AQuantizedHeadMustBeDescribed) {
  const TempFolder folder;
  const auto quantized = fs::path(kTestdata) / "models" / "tiny-llama-w4a8";
  EditModel(quantized, folder.path(), QuantizeHead);
  EXPECT_ERROR("'lm_head.weight' is missing; of its module there are lm_head.weight_packed",
               ModelSource::Open(folder.path()));
  EditModel(kTiny, folder.path(), QuantizeHead);
  EXPECT_ERROR("'lm_head.weight' is missing; of its module there are lm_head.weight_packed",
               ModelSource::Open(folder.path()));
  EditModel(quantized, folder.path(), [](EditableModel& model) {
    QuantizeHead(model);
    Json& config = model.config["quantization_config"];
    config["ignore"] = Json::array();
    Json group = config["config_groups"].front();
    group["targets"] = {"lm_head"};
    group["input_activations"] = nullptr;
    config["config_groups"]["head"] = group;
  });
  const ModelSource source = ModelSource::Open(folder.path());
  EXPECT_TRUE(source.packed_head());
  EXPECT_FALSE(source.config().tied_head);
  EXPECT_EQ(source.warnings().size(), 1u);  // the config says tied
}

TEST(ModelSource, TheWrittenConfigNamesNoFilesOfTheSource) {
  const TempFolder folder;
  EditModel(kTiny, folder.path(), [](EditableModel& model) {
    model.config["auto_map"] = {{"AutoModelForCausalLM", "modeling_x.XForCausalLM"}};
    model.config["custom_pipelines"] = {{"text-generation", {{"impl", "pipe.Pipe"}}}};
    model.config["transformers_weights"] = "model.safetensors";
  });
  const Json config = ModelSource::Open(folder.path()).HfConfig();
  EXPECT_FALSE(config.contains("auto_map"));
  EXPECT_FALSE(config.contains("custom_pipelines"));
  EXPECT_FALSE(config.contains("transformers_weights"));
  EXPECT_EQ(config["hidden_size"], 64);
}

// transformers adds the adapter that lies beside a model; we say that we do not.
TEST(ModelSource, AnAdapterIsNotReadWithoutAWord) {
  const TempFolder folder;
  EditModel(kTiny, folder.path(), [](EditableModel&) {});
  EXPECT_EQ(ModelSource::Open(folder.path()).warnings(), std::vector<std::string>{});
  folder.Write("adapter_config.json", "{}");
  const std::vector<std::string> warnings = ModelSource::Open(folder.path()).warnings();
  ASSERT_EQ(warnings.size(), 1u);
  EXPECT_NE(warnings[0].find("adapter_config.json: the adapter is not read"), std::string::npos);
}

// At once, not when a layer is reached.
TEST(ModelSource, TensorsMustBeFloats) {
  for (const char* name : {"model.embed_tokens.weight", "model.norm.weight",
                           "model.layers.1.self_attn.k_proj.weight"}) {
    for (const DataType type : {DataType::kF8E4M3, DataType::kI8}) {
      const TempFolder folder;
      EditModel(kTiny, folder.path(), [&](EditableModel& model) {
        EditableModel::Tensor& tensor = model.tensors.at(name);
        tensor.type = type;
        tensor.bytes.resize(tensor.bytes.size() / 4);
      });
      EXPECT_ERROR(fmt::format("tensor '{}': expected floats, found {}", name, DataTypeName(type)),
                   ModelSource::Open(folder.path()));
    }
  }
}

// By their names, though their tensors are of types that are not read.
TEST(ModelSource, OtherQuantizationsAreNamed) {
  for (const char* method : {"bitsandbytes", "fp8", "hqq"}) {
    const TempFolder folder;
    EditModel(kTiny, folder.path(), [&](EditableModel& model) {
      model.config["quantization_config"] = {{"quant_method", method}, {"bits", 4}};
      model.tensors["x"] = {DataType::kF8E4M3, {1}, {std::byte{0}}};
    });
    EXPECT_ERROR(fmt::format("quant_method: '{}' is not supported", method),
                 ModelSource::Open(folder.path()));
  }
}

// Biases are as config.json and the architecture say, which is what transformers goes by.
TEST(ModelSource, BiasesAreThoseThatTheConfigSpeaksOf) {
  const auto add_bias = [](EditableModel& model, const std::string& module) {
    const std::vector<float> bias(static_cast<size_t>(model.tensors[module + ".weight"].shape[0]),
                                  1.0f);
    model.Set(module + ".bias", DataType::kF32, {std::ssize(bias)}, std::as_bytes(std::span(bias)));
  };
  const fs::path models = fs::path(kTestdata) / "models";
  const std::string layer = "model.layers.0.";
  for (const char* name : {"tiny-llama-f32", "tiny-mistral", "tiny-qwen3"}) {
    const TempFolder folder;
    EditModel(models / name, folder.path(), [&](EditableModel& model) {
      add_bias(model, layer + "self_attn.q_proj");
      add_bias(model, layer + "mlp.down_proj");
    });
    const ModelSource source = ModelSource::Open(folder.path());
    ASSERT_EQ(source.warnings().size(), 1u) << name;
    EXPECT_NE(source.warnings()[0].find("q_proj.bias' and 1 others: not used"), std::string::npos)
        << source.warnings()[0];
    EXPECT_TRUE(ReadLayer(source, 0).linears[0][0].bias.empty()) << name;
  }
  const TempFolder folder;
  EditModel(models / "tiny-llama-f32", folder.path(), [&](EditableModel& model) {
    model.config["attention_bias"] = true;
    for (const char* linear : {"q_proj", "k_proj", "v_proj"}) {
      add_bias(model, layer + "self_attn." + linear);
    }
  });
  EXPECT_ERROR("tensor 'model.layers.0.self_attn.o_proj.bias' is missing",
               ModelSource::Open(folder.path()));
  EditModel(models / "tiny-llama-f32", folder.path(),
            [](EditableModel& model) { model.config["mlp_bias"] = true; });
  EXPECT_ERROR("mlp.gate_proj.bias' is missing", ModelSource::Open(folder.path()));
  EditModel(models / "tiny-qwen2", folder.path(),
            [&](EditableModel& model) { model.tensors.erase(layer + "self_attn.v_proj.bias"); });
  EXPECT_ERROR("v_proj.bias' is missing", ModelSource::Open(folder.path()));
}

// As GPT-2 is published: without the head's prefix, with the masks of attention.
TEST(ModelSource, ReadsGpt2WithoutPrefixAndWithMasks) {
  const fs::path plain = fs::path(kTestdata) / "models/tiny-gpt2";
  const TempFolder folder;
  EditModel(plain, folder.path(), [](EditableModel& model) {
    decltype(model.tensors) renamed;
    for (auto& [name, tensor] : model.tensors) {
      renamed[name.substr(std::string("transformer.").size())] = std::move(tensor);
    }
    model.tensors = std::move(renamed);
    const std::vector<float> mask(16 * 16, 1.0f);
    for (const std::string layer : {"h.0.attn.", "h.1.attn."}) {
      model.Set(layer + "bias", DataType::kF32, {1, 1, 16, 16}, std::as_bytes(std::span(mask)));
      model.Set(layer + "masked_bias", DataType::kF32, {1},
                std::as_bytes(std::span(mask).first(1)));
    }
  });
  const ModelSource source = ModelSource::Open(folder.path()), expected = ModelSource::Open(plain);
  EXPECT_TRUE(source.warnings().empty());
  const SourceLayer found = ReadLayer(source, 1), layer = ReadLayer(expected, 1);
  for (size_t site = 0; site < layer.linears.size(); ++site) {
    EXPECT_EQ(found.linears[site][0].name, layer.linears[site][0].name);
    EXPECT_TRUE(std::ranges::equal(found.linears[site][0].weight.span(),
                                   layer.linears[site][0].weight.span()));
  }
  EXPECT_EQ(source.OuterTensors()[0].hf_name, "transformer.wte.weight");
}

// Conv1D has [K, N].
TEST(ModelSource, TransposesTheWeightsOfGpt2) {
  const ModelSource source = ModelSource::Open(fs::path(kTestdata) / "models/tiny-gpt2");
  const SourceLayer layer = ReadLayer(source, 0);
  const SourceLinear& linear = layer.linears[0][0];
  const TensorView& tensor = source.checkpoint().Get("transformer.h.0.attn.c_attn.weight");
  ASSERT_EQ(tensor.shape, (std::vector<int64_t>{32, 96}));
  std::vector<float> values(32 * 96);
  DequantizeRange(tensor, 0, values);
  for (int64_t n = 0; n < 96; ++n) {
    for (int64_t k = 0; k < 32; ++k) {
      ASSERT_EQ(linear.weight[n * 32 + k], values[static_cast<size_t>(k * 96 + n)])
          << n << " " << k;
    }
  }
}

// As Gemma 3's of 4B and more are published, beside what sees images.
TEST(ModelSource, ReadsTheTextModelOfOneThatSeesImages) {
  const fs::path plain = fs::path(kTestdata) / "models/tiny-gemma3";
  const ModelSource expected = ModelSource::Open(plain);
  for (const std::string prefix : {"model.language_model.", "language_model.model."}) {
    const TempFolder folder;
    EditModel(plain, folder.path(), [&](EditableModel& model) {
      Json text = model.config;
      text.erase("architectures");
      model.config = {{"architectures", {"Gemma3ForConditionalGeneration"}},
                      {"model_type", "gemma3"},
                      {"text_config", text},
                      {"vision_config", {{"hidden_size", 8}}}};
      decltype(model.tensors) renamed;
      for (auto& [name, tensor] : model.tensors) {
        renamed[prefix + name.substr(std::string("model.").size())] = std::move(tensor);
      }
      model.tensors = std::move(renamed);
      const std::vector<float> image(8);
      model.Set("vision_tower.weight", DataType::kF32, {8}, std::as_bytes(std::span(image)));
    });
    const ModelSource source = ModelSource::Open(folder.path());
    EXPECT_EQ(source.config().layers, expected.config().layers);
    EXPECT_EQ(ReadLayer(source, 1).norms.at(NormRole::kMlpOut).weight,
              ReadLayer(expected, 1).norms.at(NormRole::kMlpOut).weight);
    const auto sorted = [](const ModelSource& of) {
      return nlohmann::json::parse(of.HfConfig().dump());
    };
    EXPECT_EQ(sorted(source), sorted(expected));
    EXPECT_EQ(source.OuterTensors()[0].hf_name, "model.embed_tokens.weight");
  }
}

TEST(ModelSource, AQuantizationOfNullIsNone) {
  const TempFolder folder;
  EditModel(kTiny, folder.path(),
            [](EditableModel& model) { model.config["quantization_config"] = nullptr; });
  EXPECT_FALSE(ModelSource::Open(folder.path()).quantized());
}

// A clone without Git LFS has a few lines in the place of each large file.
TEST(ModelSource, SaysSoWhereAFileIsAPointerOfGitLfs) {
  const std::string pointer =
      "version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 988097824\n";
  for (const char* name : {"config.json", "generation_config.json", "model.safetensors",
                           "tokenizer.json", "tokenizer_config.json", "chat_template.jinja",
                           "model.safetensors.index.json", "tokenizer.model"}) {
    const TempFolder folder;
    fs::copy(kTiny, folder.path(),
             fs::copy_options::recursive | fs::copy_options::overwrite_existing);
    if (std::string_view(name).ends_with("index.json")) fs::remove(folder / "model.safetensors");
    if (std::string_view(name) == "tokenizer.model") fs::remove(folder / "tokenizer.json");
    folder.Write(name, pointer);
    EXPECT_ERROR(std::string(name) + ": is a Git LFS pointer",
                 LoadText(ModelSource::Open(folder.path())));
  }
  const TempFolder folder;
  EXPECT_ERROR("m.gguf: is a Git LFS pointer", ModelSource::Open(folder.Write("m.gguf", pointer)));
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
  const std::string error = ErrorOf([&] { ReadLayer(ModelSource::Open(folder.path()), 1); });
  EXPECT_NE(error.find(name), std::string::npos) << error;
}

}  // namespace
}  // namespace fptq
