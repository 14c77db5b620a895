// What the tests of models share: models beyond testdata, and how far results lie apart.
#pragma once

#include <cmath>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "base/json.h"
#include "io/checkpoint.h"
#include "io/safetensors.h"

namespace fptq {

// A Hugging Face folder that a test changes: config.json, and the tensors by name.
struct EditableModel {
  struct Tensor {
    DataType type = DataType::kF32;
    std::vector<int64_t> shape;
    std::vector<std::byte> bytes;
  };
  Json config;
  std::map<std::string, Tensor> tensors;

  void Set(const std::string& name, DataType type, std::vector<int64_t> shape,
           std::span<const std::byte> bytes) {
    tensors[name] = {type, std::move(shape), {bytes.begin(), bytes.end()}};
  }
};

// Writes config.json and model.safetensors.
inline void WriteModel(const EditableModel& model, const std::filesystem::path& to) {
  std::ofstream(to / "config.json") << model.config.dump(2);
  std::filesystem::remove(to / "model.safetensors");
  std::vector<SafetensorsWriter::Tensor> layout;
  for (const auto& [name, tensor] : model.tensors) {
    layout.push_back({name, tensor.type, tensor.shape});
  }
  SafetensorsWriter writer(to / "model.safetensors", layout);
  for (const auto& [name, tensor] : model.tensors) {
    if (!tensor.bytes.empty()) writer.Write(name, tensor.bytes);
  }
  writer.Close();
}

// Writes a copy of the folder `from`, changed by `change`, to `to`.
inline void EditModel(const std::filesystem::path& from, const std::filesystem::path& to,
                      const std::function<void(EditableModel&)>& change) {
  namespace fs = std::filesystem;
  EditableModel model;
  {
    const auto checkpoint = Checkpoint::Open(from);
    model.config = checkpoint->metadata();
    for (const auto& [name, view] : checkpoint->tensors()) {
      model.Set(name, view.type, view.shape, view.bytes);
    }
  }
  change(model);
  fs::create_directories(to);
  for (const fs::directory_entry& entry : fs::directory_iterator(from)) {
    const fs::path name = entry.path().filename();
    if (name.string().find("safetensors") == std::string::npos) {
      fs::copy_file(entry.path(), to / name, fs::copy_options::overwrite_existing);
    }
  }
  WriteModel(model, to);
}

// Sizes of a LLaMA: those of tiny-llama-f32.
struct LlamaSizes {
  int64_t hidden = 64, heads = 4, kv_heads = 1, head_dim = 16, mlp = 96;
};

// Writes `tiny`, the folder of tiny-llama-f32, with other sizes and random weights.
inline void WriteLlama(const std::filesystem::path& tiny, const std::filesystem::path& to,
                       const LlamaSizes& sizes) {
  EditModel(tiny, to, [&](EditableModel& model) {
    model.config["hidden_size"] = sizes.hidden;
    model.config["num_attention_heads"] = sizes.heads;
    model.config["num_key_value_heads"] = sizes.kv_heads;
    model.config["head_dim"] = sizes.head_dim;
    model.config["intermediate_size"] = sizes.mlp;
    std::mt19937 random(1);
    const auto set = [&](const std::string& name, int64_t rows, int64_t k, float mean) {
      std::normal_distribution<float> normal(mean, 1 / std::sqrt(static_cast<float>(k)));
      std::vector<float> values(static_cast<size_t>(rows * k));
      for (float& value : values) value = normal(random);
      const std::vector<int64_t> shape = rows == 1 ? std::vector{k} : std::vector{rows, k};
      model.Set(name, DataType::kF32, shape, std::as_bytes(std::span(values)));
    };
    const int64_t query = sizes.heads * sizes.head_dim, kv = sizes.kv_heads * sizes.head_dim;
    set("model.embed_tokens.weight", model.config["vocab_size"].get<int64_t>(), sizes.hidden, 0);
    set("model.norm.weight", 1, sizes.hidden, 1);
    const auto layers = model.config["num_hidden_layers"].get<int64_t>();
    for (int64_t layer = 0; layer < layers; ++layer) {
      const std::string prefix = "model.layers." + std::to_string(layer) + ".";
      set(prefix + "input_layernorm.weight", 1, sizes.hidden, 1);
      set(prefix + "post_attention_layernorm.weight", 1, sizes.hidden, 1);
      set(prefix + "self_attn.q_proj.weight", query, sizes.hidden, 0);
      set(prefix + "self_attn.k_proj.weight", kv, sizes.hidden, 0);
      set(prefix + "self_attn.v_proj.weight", kv, sizes.hidden, 0);
      set(prefix + "self_attn.o_proj.weight", sizes.hidden, query, 0);
      set(prefix + "mlp.gate_proj.weight", sizes.mlp, sizes.hidden, 0);
      set(prefix + "mlp.up_proj.weight", sizes.mlp, sizes.hidden, 0);
      set(prefix + "mlp.down_proj.weight", sizes.hidden, sizes.mlp, 0);
    }
  });
}

// ||found - expected|| / ||expected||
inline double RelativeError(std::span<const float> found, std::span<const float> expected) {
  double error = 0, norm = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    error += std::pow(double{found[i]} - double{expected[i]}, 2);
    norm += std::pow(double{expected[i]}, 2);
  }
  return std::sqrt(error / norm);
}

}  // namespace fptq
