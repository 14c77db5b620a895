// What the tests of several modules share.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

#include "base/error.h"

namespace fptq {

// A folder of a test's own, removed at its end.
class TempFolder {
 public:
  TempFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "fptq-test-XXXXXX").string();
    FPTQ_CHECK(mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  ~TempFolder() { std::filesystem::remove_all(path_); }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path operator/(std::string_view name) const { return path_ / name; }

  // Writes a file and returns its path.
  std::filesystem::path Write(std::string_view name, std::string_view content) const {
    std::ofstream file(path_ / name, std::ios::binary);
    file << content;
    return path_ / name;
  }

 private:
  std::filesystem::path path_;
};

inline std::string ReadFile(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// The message of the Error that `f` throws; empty if it throws none.
template <typename F>
std::string ErrorOf(F&& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return {};
}

// `f` throws an Error, on one line, with `part` in it.
#define EXPECT_ERROR(part, ...)                                          \
  do {                                                                   \
    const std::string message = ::fptq::ErrorOf([&] { __VA_ARGS__; });   \
    EXPECT_NE(message.find(part), std::string::npos)                     \
        << "expected \"" << (part) << "\", found \"" << message << "\""; \
    EXPECT_EQ(message.find('\n'), std::string::npos);                    \
  } while (false)

}  // namespace fptq
