// Tensors kept in a temporary file until the layout of the final one is known.
#pragma once

#include <filesystem>
#include <optional>
#include <span>
#include <vector>

#include "base/atomic_write.h"
#include "base/mapped_file.h"
#include "base/thread_pool.h"
#include "io/safetensors.h"

namespace fptq {

// A safetensors file begins with the shapes of all its tensors, and which tensors there are is
// decided layer by layer.
class TensorSpool {
 public:
  explicit TensorSpool(std::filesystem::path path);
  ~TensorSpool();  // removes the file
  TensorSpool(const TensorSpool&) = delete;
  TensorSpool& operator=(const TensorSpool&) = delete;

  void Add(SafetensorsWriter::Tensor tensor, std::span<const std::byte> bytes);

  const std::vector<SafetensorsWriter::Tensor>& tensors() const { return tensors_; }
  // Calls body(tensor, bytes) for all tensors in their order; none can be added any more.
  void ForEach(
      FunctionRef<void(const SafetensorsWriter::Tensor&, std::span<const std::byte>)> body);

 private:
  std::filesystem::path path_;
  std::optional<OutputFile> file_;
  std::vector<SafetensorsWriter::Tensor> tensors_;
  std::vector<size_t> sizes_;  // by tensor, bytes
};

}  // namespace fptq
