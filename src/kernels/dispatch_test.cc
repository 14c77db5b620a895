#include "kernels/dispatch.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "base/error.h"

namespace fptq {
namespace {

TEST(Dispatch, TheBestIsFirstAndScalarLast) {
  EXPECT_EQ(&ChooseKernels(""), &SupportedKernels().front());
  EXPECT_STREQ(SupportedKernels().back().name, "scalar");
}

TEST(Dispatch, NamesForceTheirTable) {
  for (const KernelTable& table : SupportedKernels()) {
    EXPECT_EQ(&ChooseKernels(table.name), &table);
    EXPECT_NE(table.attention_f32, nullptr);
  }
}

TEST(Dispatch, UnknownNameIsAnError) {
  try {
    ChooseKernels("mmx");
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("scalar, found 'mmx'"), std::string::npos)
        << error.what();
  }
}

TEST(Dispatch, EnvironmentForcesTheTable) {
  // Kernels() decides once, so a child does it; nothing else in this program calls it.
  EXPECT_EXIT(
      {
        setenv("FPTQ_ISA", "scalar", 1);
        std::exit(std::string(Kernels().name) == "scalar" ? 0 : 1);
      },
      testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace fptq
