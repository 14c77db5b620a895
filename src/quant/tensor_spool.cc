#include "quant/tensor_spool.h"

#include <utility>

#include "base/error.h"

namespace fptq {

TensorSpool::TensorSpool(std::filesystem::path path) : path_(std::move(path)), file_(path_) {}

TensorSpool::~TensorSpool() {
  file_.reset();
  std::error_code ignored;
  std::filesystem::remove(path_, ignored);
}

void TensorSpool::Add(SafetensorsWriter::Tensor tensor, std::span<const std::byte> bytes) {
  FPTQ_CHECK(file_.has_value());
  file_->Write(bytes);
  tensors_.push_back(std::move(tensor));
  sizes_.push_back(bytes.size());
}

void TensorSpool::ForEach(
    FunctionRef<void(const SafetensorsWriter::Tensor&, std::span<const std::byte>)> body) {
  FPTQ_CHECK(file_.has_value() && !tensors_.empty());
  file_->Close();
  file_.reset();
  const MappedFile file(path_);
  std::span<const std::byte> rest = file.bytes();
  for (size_t i = 0; i < tensors_.size(); ++i) {
    body(tensors_[i], rest.first(sizes_[i]));
    rest = rest.subspan(sizes_[i]);
  }
}

}  // namespace fptq
