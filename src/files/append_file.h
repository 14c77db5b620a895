// A file that grows, and keeps what was synced.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>

#include "files/file_descriptor.h"

namespace fptq {

// Errors (disk full, ...) name the path.
class AppendFile {
 public:
  // Opens the file, or creates it.
  explicit AppendFile(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return path_; }
  int64_t size() const { return size_; }
  // Cuts off what is beyond `size`, which is at most size().
  void Truncate(int64_t size);
  void Append(std::span<const std::byte> bytes);
  // What was appended so far outlives the machine.
  void Sync();

 private:
  std::filesystem::path path_;
  FileDescriptor file_;
  int64_t size_ = 0;
};

}  // namespace fptq
