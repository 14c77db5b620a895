#include "base/build.h"
#include "fptq/fptq.h"
#include "kernels/dispatch.h"

namespace fptq {

std::string Version() { return std::string(kVersion) + " (" + kCommit + ")"; }
std::string KernelName() { return Kernels().name; }

}  // namespace fptq
