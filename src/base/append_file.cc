#include "base/append_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/error.h"

namespace fptq {
namespace {

[[noreturn]] void ThrowErrno(const std::filesystem::path& path, std::string_view what) {
  throw Error("{}: {}: {}", path.string(), what, std::strerror(errno));
}

}  // namespace

AppendFile::AppendFile(const std::filesystem::path& path) : path_(path) {
  fd_ = open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (fd_ < 0) ThrowErrno(path_, "cannot create");
  size_ = lseek(fd_, 0, SEEK_END);
  if (size_ < 0) {
    close(fd_);
    ThrowErrno(path_, "cannot append");
  }
}

AppendFile::~AppendFile() { close(fd_); }

void AppendFile::Truncate(int64_t size) {
  FPTQ_CHECK(size >= 0 && size <= size_);
  if (ftruncate(fd_, size) != 0) ThrowErrno(path_, "cannot write");
  size_ = size;
}

void AppendFile::Append(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = write(fd_, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) ThrowErrno(path_, "cannot write");
    size_ += written;
    bytes = bytes.subspan(static_cast<size_t>(written));
  }
}

void AppendFile::Sync() {
  if (fsync(fd_) != 0) ThrowErrno(path_, "cannot write");
}

}  // namespace fptq
