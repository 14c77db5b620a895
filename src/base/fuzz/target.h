// Fuzz targets: functions that are called with inputs which libFuzzer makes (scripts/fuzz).
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace fptq {

enum class FuzzInput {
  kBytes,
  kJson,  // a JSON value: mutated value by value, and now and then byte by byte
};

// `run` may throw Error and nothing else. A failed FPTQ_CHECK, in the target itself too, any other
// exception, and what the sanitizers find are faults.
struct FuzzTarget {
  std::string_view name;
  FuzzInput input;
  void (*run)(std::string_view input);
};

// The targets of this executable.
std::vector<FuzzTarget>& FuzzTargets();

// FPTQ_FUZZ_TARGET(name, kBytes) { ... uses `input` ... }
#define FPTQ_FUZZ_TARGET(target, kind)                                                 \
  static void Fuzz_##target(std::string_view input);                                   \
  [[maybe_unused]] static const auto& fuzz_##target =                                  \
      FuzzTargets().emplace_back(FuzzTarget{#target, FuzzInput::kind, Fuzz_##target}); \
  static void Fuzz_##target(std::string_view input)

// Files for the code that wants a path, in a folder of this process's own.
class FuzzFolder {
 public:
  FuzzFolder();
  ~FuzzFolder();
  FuzzFolder(const FuzzFolder&) = delete;
  FuzzFolder& operator=(const FuzzFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }
  // Writes a file and returns its path.
  std::filesystem::path Write(std::string_view name, std::string_view content) const;
  // Removes all that is in the folder.
  void Clear() const;

 private:
  std::filesystem::path path_;
};

}  // namespace fptq
