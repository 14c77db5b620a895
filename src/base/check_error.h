// A failed FPTQ_CHECK in builds for fuzzing.
#pragma once

#include <string>
#include <utility>

namespace fptq {

// What CheckFailed throws instead of aborting if FPTQ_CHECK_THROWS is defined: neither an Error,
// nor anything that the code under test would catch.
class CheckError {
 public:
  explicit CheckError(std::string message) : message_(std::move(message)) {}
  const char* what() const { return message_.c_str(); }

 private:
  std::string message_;
};

}  // namespace fptq
