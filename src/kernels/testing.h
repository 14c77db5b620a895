// What the tests of this folder share.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "kernels/dispatch.h"

namespace fptq {

inline const KernelTable& Scalar() { return SupportedKernels().back(); }

inline size_t Size(int64_t n) { return static_cast<size_t>(n); }

// Equal bits, so that the sign of zero counts too.
template <typename T>
void ExpectSameBits(const T* expected, const T* found, int64_t n, const std::string& what) {
  for (int64_t i = 0; i < n; ++i) {
    ASSERT_EQ(std::memcmp(expected + i, found + i, sizeof(T)), 0)
        << what << " at " << i << ": expected " << +expected[i] << ", found " << +found[i];
  }
}
template <typename T>
void ExpectSameBits(const std::vector<T>& expected, const std::vector<T>& found,
                    const std::string& what) {
  ASSERT_EQ(expected.size(), found.size()) << what;
  ExpectSameBits(expected.data(), found.data(), static_cast<int64_t>(found.size()), what);
}

inline std::vector<float> Normal(std::mt19937& rng, int64_t n, float scale = 1) {
  std::normal_distribution<float> distribution(0, scale);
  std::vector<float> out(Size(n));
  for (float& x : out) x = distribution(rng);
  return out;
}

inline int RandomInt(std::mt19937& rng, int low, int high) {
  return std::uniform_int_distribution<int>(low, high)(rng);
}

}  // namespace fptq
