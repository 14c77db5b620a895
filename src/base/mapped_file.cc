#include "base/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/error.h"
#include "base/file_descriptor.h"

namespace fptq {
namespace {

std::span<const std::byte> Map(int fd, const std::filesystem::path& path) {
  struct stat status;
  if (fstat(fd, &status) != 0) ThrowErrno(path, "cannot look at it");
  if (!S_ISREG(status.st_mode)) {
    throw Error("{}: expected a file, found {}", path.string(),
                S_ISDIR(status.st_mode) ? "a folder" : "something else");
  }
  if (status.st_size == 0) throw Error("{}: the file is empty", path.string());
  const size_t size = static_cast<size_t>(status.st_size);
  const void* data = mmap(nullptr, size, PROT_READ, MAP_SHARED, fd, 0);
  if (data == MAP_FAILED) {
    throw Error("{}: cannot map {} bytes: {}", path.string(), size, std::strerror(errno));
  }
  return {static_cast<const std::byte*>(data), size};
}

}  // namespace

MappedFile::MappedFile(const std::filesystem::path& path) : path_(path) {
  // Non-blocking, so that opening a pipe returns and can be refused.
  const FileDescriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (file.get() < 0) ThrowErrno(path, "cannot open");
  bytes_ = Map(file.get(), path);
}

void MappedFile::ReleasePages() const {
  // Only advice: failing is fine.
  madvise(const_cast<std::byte*>(bytes_.data()), bytes_.size(), MADV_DONTNEED);
}

MappedFile::~MappedFile() {
  if (!bytes_.empty()) munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : path_(std::move(other.path_)), bytes_(std::exchange(other.bytes_, {})) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

}  // namespace fptq
