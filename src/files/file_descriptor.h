// Open files, and system calls on them whose failure is an Error that names the path.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string_view>

namespace fptq {

// Closes what it holds.
class FileDescriptor {
 public:
  FileDescriptor() = default;
  explicit FileDescriptor(int fd) : fd_(fd) {}
  ~FileDescriptor();
  FileDescriptor(FileDescriptor&& other) noexcept;
  FileDescriptor& operator=(FileDescriptor&& other) noexcept;

  int get() const { return fd_; }  // -1: none
  // Closes it now; false and errno if that failed, and then it is closed all the same.
  bool Close();

 private:
  int fd_ = -1;
};

// Throws an Error: "PATH: WHAT: the reason that errno has".
[[noreturn]] void ThrowErrno(const std::filesystem::path& path, std::string_view what);

// Writes all of `bytes` to a file that has been opened as `path`.
void WriteAll(const FileDescriptor& file, const std::filesystem::path& path,
              std::span<const std::byte> bytes);

// Writes of the file so far outlive the machine.
void Sync(const FileDescriptor& file, const std::filesystem::path& path);

}  // namespace fptq
