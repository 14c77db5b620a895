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

// A folder that appears at `path` as a whole on Commit(). Until then its files are in staging(), a
// sibling folder with a temporary name; the destructor removes it if Commit() was not called. If
// `path` exists it is an Error at construction unless `replace`; then Commit() swaps it in and
// removes the old one.
class OutputFolder {
 public:
  OutputFolder(const std::filesystem::path& path, bool replace);
  ~OutputFolder();
  OutputFolder(const OutputFolder&) = delete;
  OutputFolder& operator=(const OutputFolder&) = delete;

  const std::filesystem::path& staging() const { return staging_; }
  void Commit();

 private:
  std::filesystem::path path_;
  std::filesystem::path staging_;
  bool replace_ = false;
  bool committed_ = false;
};

// Writes a small file whole: temporary name, fsync, rename.
void WriteFileAtomically(const std::filesystem::path& path, std::string_view text);

}  // namespace fptq
