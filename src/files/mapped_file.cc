#include "files/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "files/file_descriptor.h"

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

// What a clone without Git LFS has in the place of a large file.
bool IsLfsPointer(std::span<const std::byte> bytes) {
  constexpr std::string_view kBegin = "version https://git-lfs.github.com/spec/";
  return bytes.size() > kBegin.size() &&
         std::memcmp(bytes.data(), kBegin.data(), kBegin.size()) == 0;
}

}  // namespace

MappedFile::MappedFile(const std::filesystem::path& path) : path_(path) {
  // Non-blocking, so that opening a pipe returns and can be refused.
  const FileDescriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (file.get() < 0) ThrowErrno(path, "cannot open");
  bytes_ = Map(file.get(), path);
  if (IsLfsPointer(bytes_)) {
    munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
    throw Error("{}: is a Git LFS pointer, not the file itself; 'git lfs pull' gets that",
                path.string());
  }
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
