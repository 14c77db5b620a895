// One safetensors file: a length, a JSON header, then the bytes of the tensors without a gap.
#pragma once

#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/tensor.h"
#include "files/atomic_write.h"

namespace fptq {

// The tensors in `file`, a whole file; the views point into it. Everything that the format demands
// is checked; Errors start with `where`.
std::map<std::string, TensorView, std::less<>> ParseSafetensors(std::span<const std::byte> file,
                                                                std::string_view where);

// The type and the shape that an entry of a header has. Error if they are none.
DataType ParseDtype(const JsonFields& entry);
std::vector<int64_t> ParseShape(const JsonFields& entry);

// Writes a file tensor after tensor. The same input gives the same file.
class SafetensorsWriter {
 public:
  struct Tensor {
    std::string name;
    DataType type;  // not a block type
    std::vector<int64_t> shape;

    int64_t Bytes() const;  // Error if they are more than 2^63-1
  };

  // Writes the header.
  SafetensorsWriter(const std::filesystem::path& path, std::vector<Tensor> tensors);

  // Appends to a tensor, which must be the first one that is not complete.
  void Write(std::string_view name, std::span<const std::byte> bytes);
  // All tensors must be complete. Without this call the file is removed.
  void Close();

 private:
  void SkipComplete();

  OutputFile file_;
  std::vector<Tensor> tensors_;
  size_t current_ = 0;
  int64_t written_ = 0;  // bytes of the current tensor
};

}  // namespace fptq
