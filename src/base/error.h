// Errors: what a file, flag or request can cause is an `Error`; what only a programmer can cause is
// FPTQ_CHECK.
#pragma once

#include <fmt/format.h>

#include <stdexcept>
#include <string>
#include <utility>

namespace fptq {

// One line that says what, where, expected and found, e.g.
//   throw Error("{}: tensor '{}': expected {} bytes, found {}", path, name, expected, found);
class Error : public std::runtime_error {
 public:
  template <typename... Args>
  explicit Error(fmt::format_string<Args...> format, Args&&... args)
      : std::runtime_error(fmt::format(format, std::forward<Args>(args)...)) {}
};

// Prints the failed condition and aborts.
[[noreturn]] void CheckFailed(const char* condition, const char* file, int line);

}  // namespace fptq

#define FPTQ_CHECK(condition) \
  ((condition) ? static_cast<void>(0) : ::fptq::CheckFailed(#condition, __FILE__, __LINE__))
