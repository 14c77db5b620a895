// A folder that appears as a whole, and the work on it, which may be interrupted.
#pragma once

#include <array>
#include <filesystem>
#include <string_view>

#include "files/file_descriptor.h"
#include "files/paths.h"

namespace fptq {

// The plain files that an output, and the work on it, consist of. Whatever else lies in a folder is
// somebody else's: such a folder is not replaced, and such a file is not removed.
struct OutputKind {
  std::array<std::string_view, 2> marks;     // files that every finished output has
  bool (*in_output)(std::string_view name);  // whether an output may have such a file
  bool (*in_work)(std::string_view name);    // whether the work may keep such a file
};

// The output is made in staging() and becomes the folder `path` on Commit(). Both staging() and
// what the work must keep to go on after an interruption lie in work(), the folder "PATH.partial",
// which one process at a time has to itself. Whenever the process ends, `path` is the old output or
// the new one: by one step where the file system can exchange two folders; elsewhere the next
// OutputFolder of that path puts the old one back.
class OutputFolder {
 public:
  // Error before anything is touched if `path` exists, unless `replace` and it is an output of this
  // kind; if one of `inputs` or the working directory lies in it or in work(); or if another
  // process is at work on it.
  OutputFolder(const std::filesystem::path& path, bool replace, const OutputKind& kind,
               InputFiles inputs);
  // Removes work() unless Keep() was called.
  ~OutputFolder();
  OutputFolder(const OutputFolder&) = delete;
  OutputFolder& operator=(const OutputFolder&) = delete;

  // The first of these errors, but the last.
  static void Check(const std::filesystem::path& path, bool replace, const OutputKind& kind,
                    const InputFiles& inputs);
  // What work() is of an output.
  static std::filesystem::path WorkPath(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return path_; }
  const std::filesystem::path& work() const { return work_; }
  std::filesystem::path staging() const;  // empty at first
  // False where the file system has no locks: then nothing keeps another process out.
  bool locked() const { return locked_; }
  // From now on work() stays for the next process, unless Commit() is called.
  void Keep() { keep_ = true; }
  void Commit();

 private:
  std::filesystem::path replaced() const;
  void Lock();
  bool TryLock();
  void RestoreReplaced();
  void RemoveWork();
  void Replace();

  std::filesystem::path path_, work_;
  bool replace_ = false;
  OutputKind kind_;
  InputFiles inputs_;
  bool keep_ = false;
  bool locked_ = false;
  FileDescriptor lock_;
};

}  // namespace fptq
