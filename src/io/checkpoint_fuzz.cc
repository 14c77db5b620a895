#include "base/error.h"
#include "base/fuzz/target.h"
#include "io/checkpoint.h"
#include "io/safetensors.h"

namespace fptq {
namespace {

void WriteShard(const std::filesystem::path& path, std::string_view name) {
  SafetensorsWriter writer(path, {{std::string(name), DataType::kF32, {2}}});
  const float values[] = {1, 2};
  writer.Write(name, std::as_bytes(std::span(values)));
  writer.Close();
}

}  // namespace

// model.safetensors.index.json of a folder with two shards.
FPTQ_FUZZ_TARGET(checkpoint_index, kJson) {
  static const FuzzFolder folder;
  static const bool shards_written = [] {
    folder.Write("config.json", "{}");
    WriteShard(folder.path() / "1.safetensors", "a");
    WriteShard(folder.path() / "2.safetensors", "b");
    return true;
  }();
  FPTQ_CHECK(shards_written);
  folder.Write("model.safetensors.index.json", input);
  const auto checkpoint = Checkpoint::Open(folder.path());
  for (const auto& [name, tensor] : checkpoint->tensors()) {
    FPTQ_CHECK(tensor.ElementCount() == 2);
    checkpoint->Get(name, tensor.shape);
  }
}

}  // namespace fptq
