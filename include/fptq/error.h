// What goes wrong.
#pragma once

#include <stdexcept>
#include <string>

#include "fptq/export.h"

namespace fptq {

enum class ErrorKind {
  kInput,      // an argument, or the content of a file, is not what it has to be
  kFile,       // a file cannot be opened, read or written
  kResource,   // memory, disk or another limit of the machine does not suffice
  kCancelled,  // the caller ended it
  kInternal,   // a fault of fptq itself
};

// Completed by the library for its own use.
template <typename... Args>
struct ErrorFormat;

// One line that says what, where, expected and found. All that the library throws, but for
// std::bad_alloc.
class FPTQ_API Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& message) : std::runtime_error(message), kind_(kind) {}

  // For the library itself: a format and its arguments; of kind kInput.
  template <typename... Args>
  explicit Error(typename ErrorFormat<Args...>::Type format, Args&&... args);

  ErrorKind kind() const { return kind_; }

 private:
  ErrorKind kind_;
};

}  // namespace fptq
