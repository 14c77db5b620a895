// Output that is there whole or not at all: written under a temporary name, fsynced, then renamed.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string_view>

#include "files/file_descriptor.h"

namespace fptq {

enum class IfExists { kError, kReplace };

// A file written in sequence, which gets its name by Close(). A file that was not closed leaves
// nothing behind. Errors (disk full, ...) name the path.
class OutputFile {
 public:
  // Error at once if the file cannot be made there, or if it exists and is not to be replaced or is
  // no plain file. A link is followed.
  explicit OutputFile(const std::filesystem::path& path, IfExists if_exists = IfExists::kError);
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  void Write(std::span<const std::byte> bytes);
  void Write(std::string_view text);
  // Flushes, fsyncs and renames.
  void Close();

 private:
  std::filesystem::path path_, temporary_;
  IfExists if_exists_;
  FileDescriptor file_;
};

// Error if there can be no OutputFile; makes none.
void CheckOutputFile(const std::filesystem::path& path, IfExists if_exists);

// What the names of unfinished files begin with, and of those that never get another name.
inline constexpr std::string_view kTemporaryPrefix = ".fptq-";

// Makes the renames and new files inside of `folder` durable; best effort, as some file systems
// refuse it.
void SyncFolder(const std::filesystem::path& folder);

// Writes a small file whole, in place of one that exists.
void WriteFileAtomically(const std::filesystem::path& path, std::string_view text);

}  // namespace fptq
