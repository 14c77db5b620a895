// A whole file, read-only in memory.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>

namespace fptq {

// mmaps a regular file. Error if it is missing, unreadable, a directory, empty, or a Git LFS
// pointer.
class MappedFile {
 public:
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;

  const std::filesystem::path& path() const { return path_; }
  std::span<const std::byte> bytes() const { return bytes_; }
  // Takes the file's pages out of the process's resident memory; they stay readable.
  void ReleasePages() const;

 private:
  std::filesystem::path path_;
  std::span<const std::byte> bytes_;
};

}  // namespace fptq
