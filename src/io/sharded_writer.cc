#include "io/sharded_writer.h"

#include <utility>

#include "base/error.h"
#include "files/json_file.h"

namespace fptq {
namespace {

constexpr std::string_view kSingle = "model.safetensors", kIndex = "model.safetensors.index.json";
constexpr std::string_view kPrefix = "model-", kOf = "-of-", kSuffix = ".safetensors";

bool IsNumber(std::string_view text) {
  return text.size() >= 5 && text.find_first_not_of("0123456789") == text.npos;
}

}  // namespace

bool ShardedWriter::IsFile(std::string_view name) {
  if (name == kSingle || name == kIndex) return true;
  if (!name.starts_with(kPrefix) || !name.ends_with(kSuffix)) return false;
  name.remove_prefix(kPrefix.size());
  name.remove_suffix(kSuffix.size());
  const size_t of = name.find(kOf);
  return of != name.npos && IsNumber(name.substr(0, of)) && IsNumber(name.substr(of + kOf.size()));
}

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
  if (shards_.size() == 1) return std::string(kSingle);
  return fmt::format("{}{:05}{}{:05}{}", kPrefix, shard + 1, kOf, shards_.size(), kSuffix);
}

void ShardedWriter::OpenShard(size_t shard) {
  shard_ = shard;
  writer_.emplace(folder_ / FileName(shard), shards_[shard]);
}

void ShardedWriter::WriteIndex() const {
  Json files = Json::object();
  for (const auto& [tensor, shard] : shard_of_) files[tensor] = FileName(shard);
  const Json index = {{"metadata", {{"total_size", tensor_bytes_}}}, {"weight_map", files}};
  WriteJsonFile(folder_ / kIndex, index);
}

}  // namespace fptq
