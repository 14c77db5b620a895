// What the tests of quantization share.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/json.h"
#include "files/json_file.h"
#include "io/checkpoint.h"
#include "io/safetensors.h"
#include "model/model.h"
#include "model/testing.h"

namespace fptq {

inline std::vector<float> ReadFloats(const Checkpoint& checkpoint, const std::string& name) {
  const TensorView& tensor = checkpoint.Get(name);
  std::vector<float> values(static_cast<size_t>(tensor.ElementCount()));
  DequantizeRange(tensor, 0, values);
  return values;
}

// Copies a folder, its tensors changed by `change` and stored as F32; those that it adds are
// vectors.
using Tensors = std::map<std::string, std::vector<float>>;
inline void CopyModel(const std::filesystem::path& from, const std::filesystem::path& to,
                      const std::function<void(Tensors&)>& change) {
  const auto checkpoint = Checkpoint::Open(from);
  Tensors tensors;
  for (const auto& item : checkpoint->tensors()) {
    tensors[item.first] = ReadFloats(*checkpoint, item.first);
  }
  change(tensors);
  std::vector<SafetensorsWriter::Tensor> layout;
  for (const auto& [name, values] : tensors) {
    const bool added = !checkpoint->Contains(name);
    layout.push_back({name, DataType::kF32,
                      added ? std::vector{std::ssize(values)} : checkpoint->Get(name).shape});
  }
  std::filesystem::create_directory(to);
  for (const char* name : {"config.json", "tokenizer.json", "tokenizer_config.json"}) {
    std::filesystem::copy_file(from / name, to / name);
  }
  SafetensorsWriter writer(to / "model.safetensors", layout);
  for (const auto& [name, values] : tensors) writer.Write(name, std::as_bytes(std::span(values)));
  writer.Close();
}

// Logits of a model after each token of the prompt of the golden folder `golden`, [tokens, vocab].
inline std::vector<float> GoldenLogits(const std::filesystem::path& model_path,
                                       const std::filesystem::path& golden) {
  ThreadPool pool(2);
  const auto model = LoadModel(model_path, pool);
  const auto tokens = ReadJsonFile(golden / "golden.json")["token_ids"].get<std::vector<int32_t>>();
  const int64_t count = std::ssize(tokens);
  KvCache cache(model->config(), model->kv_type(), PagesFor(count), model->config().layers);
  const std::vector<int32_t> pages = PageRange(0, cache.pages());
  Activations act(model->config(), count, count);
  const ForwardBatch batch{
      .chunks = {{.pages = pages, .first_position = 0, .tokens = tokens, .logits = count}}};
  Forward(*model, batch, cache, pool, act);
  return {act.logits.data(), act.logits.data() + count * model->config().vocab};
}

}  // namespace fptq
