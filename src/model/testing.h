// What the tests that need models beyond testdata share.
#pragma once

#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
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
  std::ofstream(to / "config.json") << model.config.dump(2);
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

}  // namespace fptq
