// Output that is there whole or not at all: written under a temporary name, fsynced, then renamed.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string_view>

namespace fptq {

// A file written in sequence. Errors (disk full, ...) name the path. Call Close(): it flushes and
// fsyncs; the destructor of a file that was not closed removes it.
class OutputFile {
 public:
  explicit OutputFile(const std::filesystem::path& path);
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  void Write(std::span<const std::byte> bytes);
  void Write(std::string_view text);
  void Close();

 private:
  std::filesystem::path path_;
  int fd_ = -1;
};

// Makes the renames and new files inside of `folder` durable; best effort, as some file systems
// refuse it.
void SyncFolder(const std::filesystem::path& folder);

// Writes a small file whole: temporary name, fsync, rename.
void WriteFileAtomically(const std::filesystem::path& path, std::string_view text);

}  // namespace fptq
