#include "files/atomic_write.h"

#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>

#include "base/error.h"
#include "files/paths.h"

namespace fptq {
namespace {

namespace fs = std::filesystem;

// Where a link leads to, as that is what a file is to be written over.
fs::path Target(const fs::path& path) {
  std::error_code error;
  const fs::path real = fs::canonical(path, error);
  return error ? OutputPath(path) : real;
}

void CheckTarget(const fs::path& path, IfExists if_exists) {
  std::error_code error;
  const fs::file_status status = fs::symlink_status(path, error);
  if (!fs::exists(status)) return;
  if (if_exists == IfExists::kError) throw Error("{}: cannot create: it exists", path.string());
  if (!fs::is_regular_file(status)) {
    throw Error("{}: expected a file to replace, found {}", path.string(),
                fs::is_directory(status) ? "a folder" : "something else");
  }
}

// Gives the file its name; Error if there is one of that name and it is not to be replaced.
void Publish(const fs::path& temporary, const fs::path& path, IfExists if_exists) {
  constexpr const char* kWhat = "cannot move the output here";
  if (if_exists == IfExists::kError) {
    if (renameat2(AT_FDCWD, temporary.c_str(), AT_FDCWD, path.c_str(), RENAME_NOREPLACE) == 0) {
      return;
    }
    if (errno != EINVAL && errno != ENOSYS) ThrowErrno(path, kWhat);
    CheckTarget(path, if_exists);  // as well as this file system can
  }
  if (std::rename(temporary.c_str(), path.c_str()) != 0) ThrowErrno(path, kWhat);
}

}  // namespace

OutputFile::OutputFile(const fs::path& path, IfExists if_exists)
    : path_(Target(path)), if_exists_(if_exists) {
  CheckTarget(path_, if_exists_);
  static std::atomic<int> counter = 0;
  do {  // another process of this number may have left such a file
    temporary_ = path_.parent_path() /
                 fmt::format("{}{}-{}", kTemporaryPrefix, getpid(), counter.fetch_add(1));
    file_ = FileDescriptor(open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
  } while (file_.get() < 0 && errno == EEXIST);
  if (file_.get() < 0) ThrowErrno(path_, "cannot create");
}

OutputFile::~OutputFile() {
  if (!temporary_.empty()) unlink(temporary_.c_str());
}

void OutputFile::Write(std::span<const std::byte> bytes) { WriteAll(file_, path_, bytes); }

void OutputFile::Write(std::string_view text) {
  Write(std::as_bytes(std::span(text.data(), text.size())));
}

void OutputFile::Close() {
  Sync(file_, path_);
  if (!file_.Close()) ThrowErrno(path_, "cannot write");
  Publish(temporary_, path_, if_exists_);
  temporary_.clear();
  SyncFolder(path_.parent_path());
}

void CheckOutputFile(const fs::path& path, IfExists if_exists) {
  const OutputFile file(path, if_exists);
}

void SyncFolder(const fs::path& folder) {
  const FileDescriptor file(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (file.get() >= 0) fsync(file.get());
}

void WriteFileAtomically(const fs::path& path, std::string_view text) {
  OutputFile file(path, IfExists::kReplace);
  file.Write(text);
  file.Close();
}

}  // namespace fptq
