// What is at a path, whatever links and mounts lead there. Failures are Errors that name the path.
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace fptq {

// Both follow links. False if there is nothing; Error if that cannot be found out (no permission,
// a loop of links, a name that is too long).
bool Exists(const std::filesystem::path& path);
bool IsFolder(const std::filesystem::path& path);

// The paths of what lies in a folder, sorted.
std::vector<std::filesystem::path> EntriesOf(const std::filesystem::path& folder);

// The absolute path of an output, which need not exist: links, "." and ".." of the folder that it
// is in are resolved as the system does it. Error if there is no such folder.
std::filesystem::path OutputPath(const std::filesystem::path& path);

// The last name of a path, be it "." or with a slash at its end.
std::string LastName(const std::filesystem::path& path);

// The files that a command reads, so that what it writes can keep off them.
class InputFiles {
 public:
  // Files, and folders with the files that lie in them. Those that do not exist are left out.
  InputFiles(std::span<const std::filesystem::path> paths);  // NOLINT: lists are passed as they are
  InputFiles(std::initializer_list<std::filesystem::path> paths);  // NOLINT

  // One of them that `folder` is, holds, or has a second name of, or the working directory if that
  // is so; empty if none.
  std::filesystem::path FirstIn(const std::filesystem::path& folder) const;
  // Whether `path` is a name of one of them, but not of one that merely lies in a folder.
  bool Contains(const std::filesystem::path& path) const;

 private:
  std::vector<std::filesystem::path> named_, in_folders_;  // without links
};

}  // namespace fptq
