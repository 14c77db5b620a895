#include "io/tensor_spool.h"

#include <utility>

#include "base/error.h"
#include "files/checksum.h"
#include "files/mapped_file.h"

namespace fptq {

size_t TensorSpool::Restore(std::vector<Entry> entries) {
  entries_.clear();
  int64_t end = 0;
  if (file_.size() > 0) {
    const MappedFile file(file_.path());
    std::span<const std::byte> rest = file.bytes();
    for (Entry& entry : entries) {
      const auto size = static_cast<size_t>(entry.tensor.Bytes());
      if (size > rest.size() || Checksum(rest.first(size)) != entry.checksum) break;
      rest = rest.subspan(size);
      end += static_cast<int64_t>(size);
      entries_.push_back(std::move(entry));
    }
  }
  file_.Truncate(end);
  return entries_.size();
}

void TensorSpool::Add(SafetensorsWriter::Tensor tensor, std::span<const std::byte> bytes) {
  FPTQ_CHECK(std::ssize(bytes) == tensor.Bytes());
  file_.Append(bytes);
  entries_.push_back({std::move(tensor), Checksum(bytes)});
}

void TensorSpool::ForEach(
    FunctionRef<void(const SafetensorsWriter::Tensor&, std::span<const std::byte>)> body) const {
  if (entries_.empty()) return;
  const MappedFile file(file_.path());
  std::span<const std::byte> rest = file.bytes();
  for (const Entry& entry : entries_) {
    const auto size = static_cast<size_t>(entry.tensor.Bytes());
    if (size > rest.size()) throw Error("{}: has become shorter", file_.path().string());
    body(entry.tensor, rest.first(size));
    rest = rest.subspan(size);
  }
}

}  // namespace fptq
