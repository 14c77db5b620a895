#include "files/append_file.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/error.h"

namespace fptq {

AppendFile::AppendFile(const std::filesystem::path& path)
    : path_(path), file_(open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666)) {
  if (file_.get() < 0) ThrowErrno(path_, "cannot create");
  size_ = lseek(file_.get(), 0, SEEK_END);
  if (size_ < 0) ThrowErrno(path_, "cannot append");
}

void AppendFile::Truncate(int64_t size) {
  FPTQ_CHECK(size >= 0 && size <= size_);
  if (ftruncate(file_.get(), size) != 0) ThrowErrno(path_, "cannot write");
  size_ = size;
}

void AppendFile::Append(std::span<const std::byte> bytes) {
  WriteAll(file_, path_, bytes);
  size_ += std::ssize(bytes);
}

void AppendFile::Sync() { fptq::Sync(file_, path_); }

}  // namespace fptq
