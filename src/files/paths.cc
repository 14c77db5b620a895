#include "files/paths.h"

#include <dirent.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <string_view>

#include "base/error.h"

namespace fptq {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void Throw(const fs::path& path, std::string_view what, const std::error_code& error) {
  throw Error(ErrorKind::kFile, fmt::format("{}: {}: {}", path.string(), what, error.message()));
}

// False, too, where one of them does not exist.
bool IsSame(const fs::path& a, const fs::path& b) {
  std::error_code ignored;
  return fs::equivalent(a, b, ignored);
}

// Whether `folder` is `path`, which has no links, or one of the folders that this lies in.
bool IsOrHolds(const fs::path& folder, const fs::path& path) {
  if (IsSame(folder, path)) return true;
  return path.has_relative_path() && IsOrHolds(folder, path.parent_path());
}

}  // namespace

bool Exists(const fs::path& path) {
  std::error_code error;
  const bool exists = fs::exists(path, error);
  if (error) Throw(path, "cannot look at it", error);
  return exists;
}

bool IsFolder(const fs::path& path) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (!fs::status_known(status)) Throw(path, "cannot look at it", error);
  return fs::is_directory(status);
}

std::string LastName(const fs::path& path) {
  const fs::path full = fs::absolute(path).lexically_normal();
  return (full.has_filename() ? full.filename() : full.parent_path().filename()).string();
}

// Not by fs::directory_iterator, which ends the program where memory runs out.
std::vector<fs::path> EntriesOf(const fs::path& folder) {
  const auto fail = [&] {
    Throw(folder, "cannot list the folder", std::error_code(errno, std::generic_category()));
  };
  const auto close = [](DIR* open) { closedir(open); };
  const std::unique_ptr<DIR, decltype(close)> open(opendir(folder.c_str()), close);
  if (open == nullptr) fail();
  std::vector<fs::path> entries;
  while (true) {
    errno = 0;  // which alone tells an error from the end
    const dirent* entry = readdir(open.get());
    if (entry == nullptr) break;
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") entries.push_back(folder / name);
  }
  if (errno != 0) fail();
  std::ranges::sort(entries);
  return entries;
}

fs::path OutputPath(const fs::path& path) {
  if (path.empty()) throw Error("expected the path of an output, found an empty one");
  const fs::path plain = path.has_filename() ? path : path.parent_path();  // "DIR/"
  const fs::path name = plain.filename();
  const bool has_name = !name.empty() && name != "." && name != "..";
  const fs::path parent = has_name ? plain.parent_path() : plain;
  std::error_code error;
  const fs::path folder = fs::canonical(parent.empty() ? "." : parent, error);
  if (error) Throw(path, "cannot create", error);
  return has_name ? folder / name : folder;
}

InputFiles::InputFiles(std::initializer_list<fs::path> paths)
    : InputFiles(std::span(paths.begin(), paths.size())) {}

InputFiles::InputFiles(std::span<const fs::path> paths) {
  const auto add = [](const fs::path& path, std::vector<fs::path>& to) {
    std::error_code missing;
    const fs::path real = fs::canonical(path, missing);
    if (!missing) to.push_back(real);
  };
  for (const fs::path& path : paths) {
    add(path, named_);
    if (path.empty() || !IsFolder(path)) continue;
    for (const fs::path& entry : EntriesOf(path)) {
      if (!IsFolder(entry)) add(entry, in_folders_);
    }
  }
}

fs::path InputFiles::FirstIn(const fs::path& folder) const {
  std::error_code missing;
  const fs::path here = fs::canonical(".", missing);
  if (!missing && IsOrHolds(folder, here)) return here;
  const std::vector<fs::path> entries = EntriesOf(folder);
  for (const std::vector<fs::path>& inputs : {named_, in_folders_}) {
    for (const fs::path& input : inputs) {
      const auto is_input = [&](const fs::path& entry) { return IsSame(entry, input); };
      if (IsOrHolds(folder, input) || std::ranges::any_of(entries, is_input)) return input;
    }
  }
  return {};
}

bool InputFiles::Contains(const fs::path& path) const {
  return std::ranges::any_of(named_, [&](const fs::path& input) { return IsSame(input, path); });
}

}  // namespace fptq
