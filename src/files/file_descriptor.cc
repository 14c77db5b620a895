#include "files/file_descriptor.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/error.h"

namespace fptq {

FileDescriptor::~FileDescriptor() { Close(); }

FileDescriptor::FileDescriptor(FileDescriptor&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)) {}

FileDescriptor& FileDescriptor::operator=(FileDescriptor&& other) noexcept {
  std::swap(fd_, other.fd_);
  return *this;
}

bool FileDescriptor::Close() {
  const int fd = std::exchange(fd_, -1);
  return fd < 0 || close(fd) == 0;
}

void ThrowErrno(const std::filesystem::path& path, std::string_view what) {
  throw Error(ErrorKind::kFile,
              fmt::format("{}: {}: {}", path.string(), what, std::strerror(errno)));
}

void WriteAll(const FileDescriptor& file, const std::filesystem::path& path,
              std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = write(file.get(), bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) ThrowErrno(path, "cannot write");
    bytes = bytes.subspan(static_cast<size_t>(written));
  }
}

void Sync(const FileDescriptor& file, const std::filesystem::path& path) {
  if (fsync(file.get()) != 0) ThrowErrno(path, "cannot write");
}

}  // namespace fptq
