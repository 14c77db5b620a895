#include "base/scratch_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>

#include "base/error.h"

namespace fptq {
namespace {

// A file that has lost its name; -1 and errno if there can be none.
int OpenUnnamed(const std::filesystem::path& folder) {
  // Not O_TMPFILE, which not every file system has.
  std::string name = (folder / ".scratch-XXXXXX").string();
  const int fd = mkostemp(name.data(), O_CLOEXEC);
  if (fd >= 0) unlink(name.c_str());
  return fd;
}

}  // namespace

ScratchFile::ScratchFile(const std::filesystem::path& folder, int64_t size) {
  FPTQ_CHECK(size > 0);
  const int fd = OpenUnnamed(folder);
  if (fd < 0) {
    throw Error("{}: cannot create a temporary file: {}", folder.string(), std::strerror(errno));
  }
  // Blocks are taken now: a mapped page without one is a signal, not an error.
  int error = posix_fallocate(fd, 0, size);
  void* data = MAP_FAILED;
  if (error == 0) {
    data = mmap(nullptr, static_cast<size_t>(size), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (data == MAP_FAILED) error = errno;
  }
  close(fd);
  if (data == MAP_FAILED) {
    throw Error("{}: cannot make a temporary file of {} bytes: {}", folder.string(), size,
                std::strerror(error));
  }
  bytes_ = {static_cast<std::byte*>(data), static_cast<size_t>(size)};
}

ScratchFile::~ScratchFile() {
  if (!bytes_.empty()) munmap(bytes_.data(), bytes_.size());
}

ScratchFile::ScratchFile(ScratchFile&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}

ScratchFile& ScratchFile::operator=(ScratchFile&& other) noexcept {
  std::swap(bytes_, other.bytes_);
  return *this;
}

}  // namespace fptq
