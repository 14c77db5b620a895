// A failed FPTQ_CHECK where fuzzing looks for it.
#pragma once

#include <string>
#include <utility>

namespace fptq {

// What CheckFailed throws instead of aborting once ThrowFailedChecks() was called: neither an
// Error, nor anything that the code under test would catch.
class CheckError {
 public:
  explicit CheckError(std::string message) : message_(std::move(message)) {}
  const char* what() const { return message_.c_str(); }

 private:
  std::string message_;
};

void ThrowFailedChecks();

}  // namespace fptq
