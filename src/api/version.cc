#include <fmt/format.h>

#include "base/build.h"
#include "fptq/fptq.h"
#include "kernels/dispatch.h"

namespace fptq {

std::string Version() {
  const std::string commit = kCommit;  // that of a source package is not known
  return commit == "unknown" ? kVersion : fmt::format("{} ({})", kVersion, commit);
}
std::string KernelName() { return Kernels().name; }

}  // namespace fptq
