#include "quant/sharded_writer.h"

#include <utility>

#include "base/atomic_write.h"
#include "base/error.h"
#include "base/json.h"

namespace fptq {

ShardedWriter::ShardedWriter(std::filesystem::path folder,
                             std::vector<SafetensorsWriter::Tensor> tensors,
                             int64_t max_shard_bytes)
    : folder_(std::move(folder)) {
  int64_t shard_bytes = 0;
  for (SafetensorsWriter::Tensor& tensor : tensors) {
    int64_t bytes = BlockSizeOf(tensor.type).bytes;
    for (const int64_t size : tensor.shape) bytes = CheckedMultiply(bytes, size, tensor.name);
    if (shards_.empty() || shard_bytes + bytes > max_shard_bytes) {
      shards_.emplace_back();
      shard_bytes = 0;
    }
    shard_bytes += bytes;
    tensor_bytes_ += bytes;
    shard_of_[tensor.name] = shards_.size() - 1;
    shards_.back().push_back(std::move(tensor));
  }
  FPTQ_CHECK(!shards_.empty());
  OpenShard(0);
}

void ShardedWriter::Write(std::string_view name, std::span<const std::byte> bytes) {
  const auto found = shard_of_.find(name);
  FPTQ_CHECK(found != shard_of_.end());
  if (found->second != shard_) {
    FPTQ_CHECK(found->second == shard_ + 1);
    writer_->Close();
    OpenShard(found->second);
  }
  writer_->Write(name, bytes);
}

void ShardedWriter::Close() {
  FPTQ_CHECK(shard_ + 1 == shards_.size());
  writer_->Close();
  if (shards_.size() > 1) WriteIndex();
}

std::string ShardedWriter::FileName(size_t shard) const {
  if (shards_.size() == 1) return "model.safetensors";
  return fmt::format("model-{:05}-of-{:05}.safetensors", shard + 1, shards_.size());
}

void ShardedWriter::OpenShard(size_t shard) {
  shard_ = shard;
  writer_.emplace(folder_ / FileName(shard), shards_[shard]);
}

void ShardedWriter::WriteIndex() const {
  Json files = Json::object();
  for (const auto& [tensor, shard] : shard_of_) files[tensor] = FileName(shard);
  const Json index = {{"metadata", {{"total_size", tensor_bytes_}}}, {"weight_map", files}};
  WriteFileAtomically(folder_ / "model.safetensors.index.json", index.dump(2) + "\n");
}

}  // namespace fptq
