#include "files/scratch_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <string>
#include <utility>

#include "base/error.h"
#include "files/atomic_write.h"

namespace fptq {
namespace {

// A file that has lost its name.
FileDescriptor OpenUnnamed(const std::filesystem::path& folder) {
  // Not O_TMPFILE, which not every file system has.
  std::string name = (folder / fmt::format("{}XXXXXX", kTemporaryPrefix)).string();
  FileDescriptor file(mkostemp(name.data(), O_CLOEXEC));
  if (file.get() < 0) ThrowErrno(folder, "cannot create a temporary file");
  unlink(name.c_str());
  return file;
}

}  // namespace

ScratchFile::ScratchFile(const std::filesystem::path& folder, int64_t size) {
  FPTQ_CHECK(size > 0);
  const FileDescriptor file = OpenUnnamed(folder);
  // Blocks are taken now: a mapped page without one is a signal, not an error.
  errno = posix_fallocate(file.get(), 0, size);
  void* data = MAP_FAILED;
  if (errno == 0) {
    data =
        mmap(nullptr, static_cast<size_t>(size), PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
  }
  if (data == MAP_FAILED) {
    ThrowErrno(folder, fmt::format("cannot make a temporary file of {} bytes", size));
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
