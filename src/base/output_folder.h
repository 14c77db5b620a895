// A folder that appears as a whole, and the work on it, which may be interrupted.
#pragma once

#include <filesystem>

namespace fptq {

// The output is made in staging() and becomes the folder `path` on Commit(). Both staging() and
// what the work must keep to go on after an interruption lie in work(), the folder "PATH.partial",
// which one process at a time has to itself.
class OutputFolder {
 public:
  // If `path` exists it is an Error unless `replace`; then Commit() replaces it. Error also if
  // another process is at work on it.
  OutputFolder(const std::filesystem::path& path, bool replace);
  // Removes work() unless Keep() was called.
  ~OutputFolder();
  OutputFolder(const OutputFolder&) = delete;
  OutputFolder& operator=(const OutputFolder&) = delete;

  // The first of these errors.
  static void CheckTarget(const std::filesystem::path& path, bool replace);
  // What work() is of an output.
  static std::filesystem::path WorkPath(const std::filesystem::path& path);

  const std::filesystem::path& work() const { return work_; }
  std::filesystem::path staging() const { return work_ / "output"; }  // empty at first
  // From now on work() stays for the next process, unless Commit() is called.
  void Keep() { keep_ = true; }
  void Commit();

 private:
  void LockWork();
  void RemoveWork();

  std::filesystem::path path_, work_;
  bool replace_ = false;
  bool keep_ = false;
  int lock_ = -1;  // file descriptor
};

}  // namespace fptq
