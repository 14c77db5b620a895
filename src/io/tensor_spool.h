// Tensors kept in a file until the layout of the final one is known.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

#include "base/thread_pool.h"
#include "files/append_file.h"
#include "io/safetensors.h"

namespace fptq {

// A safetensors file begins with the shapes of all its tensors, and which tensors there are is
// decided layer by layer.
class TensorSpool {
 public:
  struct Entry {
    SafetensorsWriter::Tensor tensor;
    uint32_t checksum = 0;  // of the bytes
  };

  // Opens the file, or creates it.
  explicit TensorSpool(const std::filesystem::path& path) : file_(path) {}

  // Instead of all that was added: `entries`, which the file begins with; the rest of it is cut
  // off. Returns how many of them are there undamaged; those after it are not taken.
  size_t Restore(std::vector<Entry> entries);

  void Add(SafetensorsWriter::Tensor tensor, std::span<const std::byte> bytes);
  // What was added so far outlives the machine.
  void Sync() { file_.Sync(); }

  const std::vector<Entry>& entries() const { return entries_; }
  // Calls body(tensor, bytes) for all tensors in their order.
  void ForEach(
      FunctionRef<void(const SafetensorsWriter::Tensor&, std::span<const std::byte>)> body) const;

 private:
  AppendFile file_;
  std::vector<Entry> entries_;
};

}  // namespace fptq
