#include "base/error.h"

#include <cstdio>
#include <cstdlib>
#include <string>

#include "base/check_error.h"

namespace fptq {

void CheckFailed(const char* condition, const char* file, int line) {
  const std::string message = fmt::format("{}:{}: check failed: {}", file, line, condition);
#ifdef FPTQ_CHECK_THROWS
  throw CheckError(message);
#else
  std::fprintf(stderr, "%s\n", message.c_str());
  std::abort();
#endif
}

}  // namespace fptq
