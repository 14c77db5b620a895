// Models of shapes that no real one has, float and quantized: they run, or are an Error.
#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "base/test_util.h"
#include "files/json_file.h"
#include "model/model.h"
#include "model/testing.h"

namespace fptq {
namespace {

struct Shape {
  int64_t hidden, heads, kv_heads, head_dim, mlp, vocab;

  bool AllDivideBy(int64_t n) const {
    return hidden % n == 0 && heads * head_dim % n == 0 && mlp % n == 0;
  }
};

enum class Form { kFloat, kAllIgnored, kW4A16, kW4A8, kW8A8 };

Json Quantization(Form form) {
  const bool packed = form != Form::kW8A8;
  Json weights = {{"num_bits", packed ? 4 : 8}, {"strategy", "channel"}};
  if (form == Form::kW4A8) weights.update({{"strategy", "group"}, {"group_size", 32}});
  Json activations = {{"num_bits", 8}, {"strategy", "token"}, {"dynamic", true}};
  if (form == Form::kW4A16) activations = nullptr;
  return {
      {"quant_method", "compressed-tensors"},
      {"format", packed ? "pack-quantized" : "int-quantized"},
      {"ignore", {form == Form::kAllIgnored ? "re:.*" : "lm_head"}},
      {"config_groups",
       {{"group_0",
         {{"targets", {"Linear"}}, {"weights", weights}, {"input_activations", activations}}}}}};
}

class ModelMaker {
 public:
  ModelMaker(const Shape& shape, Form form) : shape_(shape), form_(form) {
    model_.config = {{"model_type", "llama"},
                     {"hidden_size", shape.hidden},
                     {"num_attention_heads", shape.heads},
                     {"num_key_value_heads", shape.kv_heads},
                     {"head_dim", shape.head_dim},
                     {"intermediate_size", shape.mlp},
                     {"num_hidden_layers", 1},
                     {"vocab_size", shape.vocab},
                     {"rms_norm_eps", 1e-5},
                     {"max_position_embeddings", 64}};
    if (form != Form::kFloat) model_.config["quantization_config"] = Quantization(form);
    AddFloats("model.embed_tokens.weight", {shape.vocab, shape.hidden});
    AddFloats("lm_head.weight", {shape.vocab, shape.hidden});
    AddFloats("model.norm.weight", {shape.hidden});
    const std::string layer = "model.layers.0.";
    AddFloats(layer + "input_layernorm.weight", {shape.hidden});
    AddFloats(layer + "post_attention_layernorm.weight", {shape.hidden});
    const int64_t q = shape.heads * shape.head_dim, kv = shape.kv_heads * shape.head_dim;
    AddLinear(layer + "self_attn.q_proj", q, shape.hidden);
    AddLinear(layer + "self_attn.k_proj", kv, shape.hidden);
    AddLinear(layer + "self_attn.v_proj", kv, shape.hidden);
    AddLinear(layer + "self_attn.o_proj", shape.hidden, q);
    AddLinear(layer + "mlp.gate_proj", shape.mlp, shape.hidden);
    AddLinear(layer + "mlp.up_proj", shape.mlp, shape.hidden);
    AddLinear(layer + "mlp.down_proj", shape.hidden, shape.mlp);
  }

  void Write(const TempFolder& folder) const {
    WriteModel(model_, folder.path());
    folder.Write("tokenizer.json",
                 R"({"added_tokens": [], "normalizer": null, "post_processor": null,
                     "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false},
                     "decoder": {"type": "ByteLevel"},
                     "model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}})");
  }

 private:
  void AddFloats(const std::string& name, std::vector<int64_t> shape) {
    int64_t count = 1;
    for (const int64_t dim : shape) count *= dim;
    std::vector<float> values(static_cast<size_t>(count));
    for (float& value : values) value = std::normal_distribution<float>()(random_);
    model_.Set(name, DataType::kF32, std::move(shape), std::as_bytes(std::span(values)));
  }
  void AddBytes(const std::string& name, DataType type, int64_t rows, int64_t columns) {
    std::vector<std::byte> bytes(static_cast<size_t>(rows * columns * BlockSizeOf(type).bytes));
    for (std::byte& byte : bytes) byte = static_cast<std::byte>(random_());
    model_.Set(name, type, {rows, columns}, bytes);
  }
  void AddLinear(const std::string& module, int64_t channels, int64_t k) {
    if (form_ == Form::kFloat || form_ == Form::kAllIgnored) {
      return AddFloats(module + ".weight", {channels, k});
    }
    AddFloats(module + ".weight_scale", {channels, form_ == Form::kW4A8 ? (k + 31) / 32 : 1});
    if (form_ == Form::kW8A8) return AddBytes(module + ".weight", DataType::kI8, channels, k);
    AddBytes(module + ".weight_packed", DataType::kI32, channels, (k + 7) / 8);
    const int64_t shape[] = {channels, k};
    model_.Set(module + ".weight_shape", DataType::kI64, {2}, std::as_bytes(std::span(shape)));
  }

  Shape shape_;
  Form form_;
  std::mt19937 random_{1};
  EditableModel model_;
};

// All logits of a few tokens, prefilled and decoded; empty if the model is refused.
std::vector<float> RunModel(const std::filesystem::path& path, FloatForm form) {
  ThreadPool pool(2);
  std::shared_ptr<const Model> model;
  if (const std::string error = ErrorOf([&] { model = LoadModel(path, pool, form); });
      !error.empty()) {
    EXPECT_NE(error.find(path.string()), std::string::npos) << error;
    return {};
  }
  const std::vector<int32_t> pages = PageRange(0, 1);
  KvCache cache(model->config(), model->kv_type(), /*pages=*/1, 1);
  Activations act(model->config(), 3, 3, /*max_sections=*/0);
  std::vector<float> logits;
  const std::vector<int32_t> tokens(3, static_cast<int32_t>(model->config().vocab - 1));
  for (const int64_t first : {0, 3}) {
    const auto part = std::span(tokens).first(first == 0 ? 3 : 1);
    Forward(*model,
            {.chunks = {{.pages = pages,
                         .first_position = first,
                         .tokens = part,
                         .logits = std::ssize(part)}}},
            cache, pool, act);
    logits.insert(logits.end(), act.logits.data(),
                  act.logits.data() + std::ssize(part) * model->config().vocab);
  }
  return logits;
}

TEST(AnyShape, RunsOrIsAnError) {
  const Shape shapes[] = {
      {.hidden = 1, .heads = 1, .kv_heads = 1, .head_dim = 2, .mlp = 1, .vocab = 1},
      {.hidden = 2, .heads = 3, .kv_heads = 3, .head_dim = 6, .mlp = 33, .vocab = 2},
      {.hidden = 31, .heads = 4, .kv_heads = 2, .head_dim = 18, .mlp = 32, .vocab = 17},
      {.hidden = 33, .heads = 5, .kv_heads = 1, .head_dim = 254, .mlp = 7, .vocab = 16},
      {.hidden = 48, .heads = 4, .kv_heads = 4, .head_dim = 12, .mlp = 96, .vocab = 3},
      {.hidden = 32, .heads = 1, .kv_heads = 1, .head_dim = 32, .mlp = 40, .vocab = 1},
      {.hidden = 96, .heads = 2, .kv_heads = 1, .head_dim = 16, .mlp = 32, .vocab = 33},
      {.hidden = 64, .heads = 2, .kv_heads = 2, .head_dim = 256, .mlp = 160, .vocab = 100},
  };
  for (const Shape& shape : shapes) {
    for (const Form form :
         {Form::kFloat, Form::kAllIgnored, Form::kW4A16, Form::kW4A8, Form::kW8A8}) {
      const TempFolder folder;
      ModelMaker(shape, form).Write(folder);
      const bool integers = form == Form::kW4A8 || form == Form::kW8A8;
      for (const FloatForm float_form : {FloatForm::kFloat32, FloatForm::kInt8}) {
        SCOPED_TRACE(fmt::format("hidden {}, mlp {}, form {}, {}", shape.hidden, shape.mlp,
                                 static_cast<int>(form), static_cast<int>(float_form)));
        const std::vector<float> logits = RunModel(folder.path(), float_form);
        EXPECT_EQ(logits.empty(), integers && !shape.AllDivideBy(32));
        for (const float logit : logits) EXPECT_TRUE(std::isfinite(logit));
      }
    }
  }
}

// What the config says may be any number; the tensors do not change.
TEST(AnyShape, ConfigsOfAnyNumbersAreErrors) {
  const TempFolder folder;
  const Shape shape = {
      .hidden = 64, .heads = 4, .kv_heads = 2, .head_dim = 16, .mlp = 96, .vocab = 5};
  ModelMaker(shape, Form::kFloat).Write(folder);
  const Json config = ReadJsonFile(folder / "config.json");
  ASSERT_FALSE(RunModel(folder.path(), FloatForm::kFloat32).empty());
  for (const char* field :
       {"hidden_size", "num_attention_heads", "num_key_value_heads", "head_dim",
        "intermediate_size", "num_hidden_layers", "vocab_size", "max_position_embeddings",
        "rms_norm_eps", "rope_theta", "sliding_window", "rope_scaling", "quantization_config",
        "tie_word_embeddings", "model_type", "hidden_act", "eos_token_id", "bos_token_id"}) {
    for (const Json& value :
         {Json(0), Json(-1), Json(1), Json(63), Json(int64_t{1} << 17), Json(int64_t{1} << 24),
          Json(int64_t{1} << 40), Json(INT64_MIN), Json(UINT64_MAX), Json(1e300), Json(2.5),
          Json("x"), Json(true), Json(nullptr), Json::array(), Json::array({1}), Json::object()}) {
      for (const char* type : {"llama", "mistral", "qwen2"}) {
        Json changed = config;
        changed["model_type"] = type;
        changed[field] = value;
        if (std::string_view(field) != "sliding_window") changed["sliding_window"] = 3;
        folder.Write("config.json", changed.dump());
        SCOPED_TRACE(fmt::format("{}: {} of {}", field, value.dump(), type));
        RunModel(folder.path(), FloatForm::kFloat32);
      }
    }
  }
}

}  // namespace
}  // namespace fptq
