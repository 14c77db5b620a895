#include "base/atomic_write.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string>

#include "base/error.h"

namespace fptq {
namespace {

namespace fs = std::filesystem;

// A path beside `path` that nobody else uses at this time: hidden, with the process and a number in
// its name.
fs::path TemporaryBeside(const fs::path& path) {
  static std::atomic<int> counter = 0;
  return path.parent_path() /
         fmt::format(".{}.{}-{}.partial", path.filename().string(), getpid(), counter.fetch_add(1));
}

[[noreturn]] void ThrowErrno(const fs::path& path, std::string_view what) {
  throw Error("{}: {}: {}", path.string(), what, std::strerror(errno));
}

void Rename(const fs::path& from, const fs::path& to) {
  if (std::rename(from.c_str(), to.c_str()) != 0) ThrowErrno(to, "cannot move the output here");
}

}  // namespace

OutputFile::OutputFile(const fs::path& path) : path_(path) {
  fd_ = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (fd_ < 0) ThrowErrno(path_, "cannot create");
}

OutputFile::~OutputFile() {
  if (fd_ < 0) return;
  close(fd_);
  unlink(path_.c_str());
}

void OutputFile::Write(std::span<const std::byte> bytes) {
  FPTQ_CHECK(fd_ >= 0);
  while (!bytes.empty()) {
    const ssize_t written = write(fd_, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) ThrowErrno(path_, "cannot write");
    bytes = bytes.subspan(static_cast<size_t>(written));
  }
}

void OutputFile::Write(std::string_view text) {
  Write(std::as_bytes(std::span(text.data(), text.size())));
}

void OutputFile::Close() {
  FPTQ_CHECK(fd_ >= 0);
  if (fsync(fd_) != 0) ThrowErrno(path_, "cannot write");
  const int fd = fd_;
  fd_ = -1;
  if (close(fd) != 0) {
    const int error = errno;
    unlink(path_.c_str());
    errno = error;
    ThrowErrno(path_, "cannot write");
  }
}

void SyncFolder(const fs::path& folder) {
  const int fd = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return;
  fsync(fd);
  close(fd);
}

void WriteFileAtomically(const fs::path& path, std::string_view text) {
  const fs::path target = fs::absolute(path).lexically_normal();
  const fs::path temporary = TemporaryBeside(target);
  OutputFile file(temporary);
  file.Write(text);
  file.Close();
  try {
    Rename(temporary, target);
  } catch (...) {
    unlink(temporary.c_str());
    throw;
  }
  SyncFolder(target.parent_path());
}

}  // namespace fptq
