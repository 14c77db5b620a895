#include "files/output_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <utility>

#include "base/error.h"
#include "files/atomic_write.h"

namespace fptq {
namespace {

namespace fs = std::filesystem;

// Marks a folder as ours, and is locked while a process works in it.
constexpr const char* kLock = "lock";
constexpr const char* kStaging = "output";
constexpr const char* kReplaced = "replaced";

// What is at `path` itself, links not followed.
fs::file_status StatusOf(const fs::path& path) {
  std::error_code error;
  const fs::file_status status = fs::symlink_status(path, error);
  if (!fs::status_known(status)) {
    throw Error("{}: cannot look at it: {}", path.string(), error.message());
  }
  return status;
}

bool IsThere(const fs::path& path) { return fs::exists(StatusOf(path)); }

// Whether a file may be removed: a plain file whose name is ours, or one that is gone meanwhile.
bool IsOurs(const fs::path& file, bool (*ours)(std::string_view)) {
  const fs::file_status status = StatusOf(file);
  const std::string name = file.filename().string();
  return !fs::exists(status) ||
         (fs::is_regular_file(status) && (ours(name) || name.starts_with(kTemporaryPrefix)));
}

// The first in `folder` that is not ours; empty if all are.
fs::path ForeignIn(const fs::path& folder, bool (*ours)(std::string_view)) {
  for (const fs::path& entry : EntriesOf(folder)) {
    if (!IsOurs(entry, ours)) return entry;
  }
  return {};
}

// Removes the files that are ours from a folder, if there is one.
void RemoveFiles(const fs::path& folder, bool (*ours)(std::string_view)) {
  if (!fs::is_directory(StatusOf(folder))) return;
  for (const fs::path& entry : EntriesOf(folder)) {
    if (IsOurs(entry, ours)) unlink(entry.c_str());
  }
}

void RemoveFolder(const fs::path& folder, bool (*ours)(std::string_view)) {
  RemoveFiles(folder, ours);
  rmdir(folder.c_str());  // stays if something else is in it
}

void Rename(const fs::path& from, const fs::path& to) {
  if (std::rename(from.c_str(), to.c_str()) != 0) ThrowErrno(to, "cannot move the output here");
}

void CheckInputs(const fs::path& folder, const InputFiles& inputs) {
  const fs::path input = inputs.FirstIn(folder);
  if (input.empty()) return;
  throw Error(
      "{}: expected an output other than the source and what else is in use, found {} there",
      folder.string(), input.string());
}

bool IsOutput(const fs::path& folder, const OutputKind& kind) {
  return fs::is_directory(StatusOf(folder)) && ForeignIn(folder, kind.in_output).empty() &&
         std::ranges::all_of(kind.marks, [&](auto mark) { return IsThere(folder / mark); });
}

void CheckTarget(const fs::path& path, bool replace, const OutputKind& kind,
                 const InputFiles& inputs) {
  const fs::file_status status = StatusOf(path);
  if (!fs::exists(status)) return;
  if (!replace) throw Error("{}: already exists (--force replaces it)", path.string());
  if (!fs::is_directory(status)) throw Error("{}: exists and is not a folder", path.string());
  CheckInputs(path, inputs);
  if (IsOutput(path, kind)) return;
  const fs::path foreign = ForeignIn(path, kind.in_output);
  throw Error("{}: expected a folder that fptq wrote, as no other is replaced, found {}",
              path.string(),
              foreign.empty() ? fmt::format("no {} with {}", kind.marks[0], kind.marks[1])
                              : fmt::format("'{}' in it", foreign.filename().string()));
}

// Error if there is something at `work` that no work on an output can have left.
void CheckWork(const fs::path& work, const OutputKind& kind, const InputFiles& inputs) {
  const fs::file_status status = StatusOf(work);
  if (!fs::exists(status)) return;
  const auto complain = [&](const fs::path& found) {
    throw Error("{}: expected a folder that an interrupted run left, found {}", work.string(),
                found == work ? "something else" : found.lexically_relative(work).string());
  };
  if (!fs::is_directory(status)) complain(work);
  CheckInputs(work, inputs);
  const std::vector<fs::path> entries = EntriesOf(work);
  for (const fs::path& entry : entries) {
    if (fs::is_directory(StatusOf(entry)) &&
        (entry == work / kStaging || entry == work / kReplaced)) {
      CheckInputs(entry, inputs);
      if (const fs::path found = ForeignIn(entry, kind.in_output); !found.empty()) complain(found);
    } else if (entry != work / kLock && !IsOurs(entry, kind.in_work)) {
      complain(entry);
    }
  }
  if (!entries.empty() && !fs::is_regular_file(StatusOf(work / kLock))) complain(work);
}

// Of what a file system says that lacks an operation, and not that this one failed.
bool IsNotSupported(int error) {
  return error == ENOSYS || error == EINVAL || error == EOPNOTSUPP || error == ENOLCK;
}

}  // namespace

fs::path OutputFolder::WorkPath(const fs::path& path) {
  return OutputPath(path).string() + ".partial";
}

fs::path OutputFolder::staging() const { return work_ / kStaging; }
fs::path OutputFolder::replaced() const { return work_ / kReplaced; }

void OutputFolder::Check(const fs::path& path, bool replace, const OutputKind& kind,
                         const InputFiles& inputs) {
  CheckWork(WorkPath(path), kind, inputs);
  CheckTarget(OutputPath(path), replace, kind, inputs);
}

OutputFolder::OutputFolder(const fs::path& path, bool replace, const OutputKind& kind,
                           InputFiles inputs)
    : path_(OutputPath(path)),
      work_(WorkPath(path)),
      replace_(replace),
      kind_(kind),
      inputs_(std::move(inputs)) {
  const bool was_left = IsThere(work_ / kLock);
  if (was_left) {
    Lock();
    RestoreReplaced();
    // Without staging(), the run that left it was killed when Commit() had done its work.
    if (IsOutput(path_, kind_) && !IsThere(staging())) {
      RemoveWork();
      lock_.Close();
    }
  }
  CheckTarget(path_, replace_, kind_, inputs_);
  if (lock_.get() < 0) Lock();
  try {
    CheckTarget(path_, replace_, kind_, inputs_);  // another process may just have finished it
    RemoveFiles(staging(), kind_.in_output);
    RemoveFolder(replaced(), kind_.in_output);
    if (mkdir(staging().c_str(), 0777) != 0 && errno != EEXIST) {
      ThrowErrno(staging(), "cannot create the folder");
    }
  } catch (...) {
    if (!was_left) RemoveWork();
    throw;
  }
}

void OutputFolder::Lock() {
  while (!TryLock()) {
  }
}

// False if the owner of the folder removed it meanwhile.
bool OutputFolder::TryLock() {
  if (mkdir(work_.c_str(), 0777) != 0) {
    if (errno != EEXIST) ThrowErrno(path_, "cannot create the folder");
    CheckWork(work_, kind_, inputs_);
  }
  const fs::path path = work_ / kLock;
  lock_ = FileDescriptor(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666));
  if (lock_.get() < 0) {
    if (errno == ENOENT) return false;
    const int error = errno;
    rmdir(work_.c_str());
    errno = error;
    ThrowErrno(path, "cannot create the lock");
  }
  locked_ = flock(lock_.get(), LOCK_EX | LOCK_NB) == 0;
  if (!locked_) {
    if (errno == EWOULDBLOCK) throw Error("{}: another process is at work on it", path_.string());
    if (!IsNotSupported(errno)) ThrowErrno(path, "cannot lock");
  }
  struct stat status = {};
  if (fstat(lock_.get(), &status) != 0) ThrowErrno(path, "cannot look at it");
  return status.st_nlink > 0;
}

OutputFolder::~OutputFolder() {
  try {
    if (keep_) {
      RemoveFiles(staging(), kind_.in_output);
    } else {
      RemoveWork();
    }
  } catch (...) {  // what is left is for the next OutputFolder of this path
  }
}

// After a process was killed, or failed, between the two renames of Replace().
void OutputFolder::RestoreReplaced() {
  if (!IsThere(replaced()) || IsThere(path_)) return;
  Rename(replaced(), path_);
  SyncFolder(path_.parent_path());
}

void OutputFolder::RemoveWork() {
  RestoreReplaced();
  RemoveFolder(staging(), kind_.in_output);
  RemoveFolder(replaced(), kind_.in_output);
  RemoveFiles(work_, kind_.in_work);
  // The lock last, and not if something is left: without it nobody would know what that is.
  if (EntriesOf(work_).size() > 1) return;
  unlink((work_ / kLock).c_str());
  rmdir(work_.c_str());
}

void OutputFolder::Commit() {
  SyncFolder(staging());
  if (IsThere(path_)) {
    CheckTarget(path_, replace_, kind_, inputs_);  // others may have put something into it
    Replace();
  } else {
    Rename(staging(), path_);
  }
  SyncFolder(path_.parent_path());
  keep_ = false;
}

// Afterwards there is no staging(), and the old output is replaced().
void OutputFolder::Replace() {
  if (renameat2(AT_FDCWD, staging().c_str(), AT_FDCWD, path_.c_str(), RENAME_EXCHANGE) == 0) {
    std::rename(staging().c_str(), replaced().c_str());
    return;
  }
  if (!IsNotSupported(errno)) ThrowErrno(path_, "cannot move the output here");
  Rename(path_, replaced());
  try {
    Rename(staging(), path_);
  } catch (...) {
    RestoreReplaced();
    throw;
  }
}

}  // namespace fptq
