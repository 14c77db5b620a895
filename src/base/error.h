// Errors: what a file, flag or request can cause is an `Error`; what only a programmer can cause is
// FPTQ_CHECK.
#pragma once

#include <fmt/format.h>

#include <string>
#include <utility>

#include "fptq/error.h"

namespace fptq {

template <typename... Args>
struct ErrorFormat {
  using Type = fmt::format_string<Args...>;
};

// For example:
//   throw Error("{}: tensor '{}': expected {} bytes, found {}", path, name, expected, found);
template <typename... Args>
Error::Error(typename ErrorFormat<Args...>::Type format, Args&&... args)
    : Error(ErrorKind::kInput, fmt::format(format, std::forward<Args>(args)...)) {}

// Prints the failed condition and aborts.
[[noreturn]] void CheckFailed(const char* condition, const char* file, int line);

}  // namespace fptq

#define FPTQ_CHECK(condition) \
  ((condition) ? static_cast<void>(0) : ::fptq::CheckFailed(#condition, __FILE__, __LINE__))
