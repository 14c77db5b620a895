#include <gtest/gtest.h>

#include "kernels/testing.h"

namespace fptq {
namespace {

// The sum of ones is the count, so a loop that the compiler shortened or that overflowed shows.
TEST(Int8Peak, CountsItsMultiplyAdds) {
  for (const KernelTable& table : SupportedKernels()) {
    const int64_t one = table.int8_peak(1);
    EXPECT_GE(one, 64) << table.name;
    EXPECT_EQ(table.int8_peak(100'001), 100'001 * one) << table.name;
    EXPECT_EQ(table.int8_peak(0), 0) << table.name;
  }
}

}  // namespace
}  // namespace fptq
