#include <gtest/gtest.h>

#include "kernels/dispatch.h"

namespace fptq {
namespace {

// Without them the tests beside this one would compare nothing. An Error if they are not there.
TEST(Emulation, HasBothTables) {
  for (const char* name : {"avx512amx", "avx512vnni"}) {
    EXPECT_STREQ(ChooseKernels(name).name, name);
  }
}

}  // namespace
}  // namespace fptq
