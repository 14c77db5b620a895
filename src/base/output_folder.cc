#include "base/output_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

#include "base/atomic_write.h"
#include "base/error.h"

namespace fptq {
namespace {

namespace fs = std::filesystem;

// Marks a folder as ours, and is locked while a process works in it.
constexpr const char* kLock = "lock";

[[noreturn]] void ThrowErrno(const fs::path& path, std::string_view what) {
  throw Error("{}: {}: {}", path.string(), what, std::strerror(errno));
}

void Rename(const fs::path& from, const fs::path& to) {
  if (std::rename(from.c_str(), to.c_str()) != 0) ThrowErrno(to, "cannot move the output here");
}

fs::path Normalized(const fs::path& path) {
  const fs::path normal = fs::absolute(path).lexically_normal();
  return normal.has_filename() ? normal : normal.parent_path();  // "DIR/"
}

}  // namespace

fs::path OutputFolder::WorkPath(const fs::path& path) {
  return Normalized(path).string() + ".partial";
}

OutputFolder::OutputFolder(const fs::path& path, bool replace)
    : path_(Normalized(path)), work_(WorkPath(path)), replace_(replace) {
  if (fs::exists(work_ / kLock)) LockWork();
  try {
    // Without staging(), the run that left it was killed when Commit() had done its work.
    if (lock_ >= 0 && fs::exists(path_) && !fs::exists(staging())) {
      RemoveWork();
      close(std::exchange(lock_, -1));
    }
    CheckTarget(path_, replace_);
    if (lock_ < 0) LockWork();
    CheckTarget(path_, replace_);  // another process may just have finished it
    fs::remove_all(staging());
    if (mkdir(staging().c_str(), 0777) != 0) ThrowErrno(staging(), "cannot create the folder");
  } catch (...) {
    if (lock_ >= 0) close(lock_);
    throw;
  }
}

void OutputFolder::CheckTarget(const fs::path& path, bool replace) {
  const fs::path target = Normalized(path);
  const fs::file_status status = fs::symlink_status(target);
  if (fs::exists(status) && !replace) {
    throw Error("{}: already exists (--force replaces it)", target.string());
  }
  if (fs::exists(status) && !fs::is_directory(status)) {
    throw Error("{}: exists and is not a folder", target.string());
  }
}

void OutputFolder::LockWork() {
  while (true) {
    if (mkdir(work_.c_str(), 0777) != 0) {
      if (errno != EEXIST) ThrowErrno(path_, "cannot create the folder");
      if (!fs::is_directory(work_) || (!fs::exists(work_ / kLock) && !fs::is_empty(work_))) {
        throw Error("{}: expected a folder that an interrupted run left, found something else",
                    work_.string());
      }
    }
    lock_ = open((work_ / kLock).c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (lock_ < 0 && errno == ENOENT) continue;  // its owner has just removed the folder
    if (lock_ < 0) ThrowErrno(work_, "cannot create the lock");
    struct stat status = {};
    if (flock(lock_, LOCK_EX | LOCK_NB) != 0) {
      const int error = errno;
      close(lock_);
      if (error != EWOULDBLOCK) {
        errno = error;
        ThrowErrno(work_, "cannot lock");
      }
      throw Error("{}: another process is at work on it", path_.string());
    }
    if (fstat(lock_, &status) == 0 && status.st_nlink > 0) return;
    close(lock_);  // its owner removed it while we opened it
  }
}

OutputFolder::~OutputFolder() {
  std::error_code ignored;
  if (keep_) {
    fs::remove_all(staging(), ignored);
    fs::create_directory(staging(), ignored);
  } else {
    RemoveWork();
  }
  close(lock_);
}

void OutputFolder::RemoveWork() {
  std::error_code ignored;
  // The lock last: without it nobody would know what the rest is.
  for (const fs::directory_entry& entry : fs::directory_iterator(work_, ignored)) {
    if (entry.path().filename() != kLock) fs::remove_all(entry.path(), ignored);
  }
  fs::remove_all(work_, ignored);
}

void OutputFolder::Commit() {
  SyncFolder(staging());
  if (replace_ && fs::exists(path_)) {
    const fs::path replaced = work_ / "replaced";
    std::error_code ignored;
    fs::remove_all(replaced, ignored);
    Rename(path_, replaced);
    try {
      Rename(staging(), path_);
    } catch (...) {
      std::rename(replaced.c_str(), path_.c_str());
      throw;
    }
  } else {
    Rename(staging(), path_);
  }
  SyncFolder(path_.parent_path());
  keep_ = false;
}

}  // namespace fptq
