#include "base/error.h"

#include <cstdio>
#include <cstdlib>
#include <string>

#include "base/check_error.h"

namespace fptq {

namespace {
bool throw_failed_checks = false;
}  // namespace

void ThrowFailedChecks() { throw_failed_checks = true; }

void CheckFailed(const char* condition, const char* file, int line) {
  const std::string message = fmt::format("{}:{}: check failed: {}", file, line, condition);
  if (throw_failed_checks) throw CheckError(message);
  std::fprintf(stderr, "%s\n", message.c_str());
  std::abort();
}

}  // namespace fptq
