// The tensors of a folder: model.safetensors, or several files with an index where that is large.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/safetensors.h"

namespace fptq {

inline constexpr int64_t kMaxShardBytes = 5'000'000'000;  // as Hugging Face folders have it

class ShardedWriter {
 public:
  // Whether the name is one that it gives to a file.
  static bool IsFile(std::string_view name);

  // A file takes tensors until the next one would make it larger than `max_shard_bytes`.
  ShardedWriter(std::filesystem::path folder, std::vector<SafetensorsWriter::Tensor> tensors,
                int64_t max_shard_bytes = kMaxShardBytes);

  // Appends to a tensor; tensors must be completed in their order.
  void Write(std::string_view name, std::span<const std::byte> bytes);
  // All tensors must be complete.
  void Close();

  int64_t TensorBytes() const { return tensor_bytes_; }

 private:
  std::string FileName(size_t shard) const;
  void OpenShard(size_t shard);
  void WriteIndex() const;

  std::filesystem::path folder_;
  std::vector<std::vector<SafetensorsWriter::Tensor>> shards_;
  std::map<std::string, size_t, std::less<>> shard_of_;  // by tensor
  int64_t tensor_bytes_ = 0;
  size_t shard_ = 0;  // the open one
  std::optional<SafetensorsWriter> writer_;
};

}  // namespace fptq
