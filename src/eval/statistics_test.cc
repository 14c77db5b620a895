#include "eval/statistics.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "base/test_util.h"

namespace fptq {
namespace {

TEST(ClusteredMean, OfSingleValuesIsTheUsualError) {
  const Estimate estimate =
      ClusteredMean(std::vector<double>{1, 2, 3, 6}, std::vector<int64_t>{1, 1, 1, 1});
  EXPECT_DOUBLE_EQ(estimate.mean, 3);
  // Squared deviations 4 + 1 + 0 + 9, over n - 1 = 3 and n = 4.
  EXPECT_DOUBLE_EQ(estimate.standard_error, std::sqrt(14.0 / 12.0));
}

TEST(ClusteredMean, ClustersOfEqualSizeCountAsTheirMeans) {
  const Estimate values =
      ClusteredMean(std::vector<double>{1, 3, 5, 9, 0, 6, 4, 4}, std::vector<int64_t>{2, 2, 2, 2});
  const Estimate means =
      ClusteredMean(std::vector<double>{2, 7, 3, 4}, std::vector<int64_t>{1, 1, 1, 1});
  EXPECT_DOUBLE_EQ(values.mean, means.mean);
  EXPECT_DOUBLE_EQ(values.standard_error, means.standard_error);
}

// 100 copies of a value tell no more than one of them.
TEST(ClusteredMean, CopiesInAClusterDoNotLowerTheError) {
  std::vector<double> copies;
  for (const double value : {1.0, 2.0, 3.0, 6.0}) copies.insert(copies.end(), 100, value);
  EXPECT_NEAR(ClusteredMean(copies, std::vector<int64_t>(4, 100)).standard_error,
              std::sqrt(14.0 / 12.0), 1e-12);
  EXPECT_NEAR(ClusteredMean(copies, std::vector<int64_t>(400, 1)).standard_error,
              std::sqrt(1400.0 / 399 / 400), 1e-12);
}

TEST(ClusteredMean, UnequalClusters) {
  // Mean 3; sums of deviations 1 - 3 = -2 and 3 + 5 - 6 = 2.
  const Estimate estimate = ClusteredMean(std::vector<double>{1, 3, 5}, std::vector<int64_t>{1, 2});
  EXPECT_DOUBLE_EQ(estimate.mean, 3);
  EXPECT_DOUBLE_EQ(estimate.standard_error, std::sqrt(2.0 / 1.0 * 8) / 3);
}

TEST(ClusteredMean, OneClusterTellsNoError) {
  const Estimate estimate = ClusteredMean(std::vector<double>{1, 3}, std::vector<int64_t>{2});
  EXPECT_DOUBLE_EQ(estimate.mean, 2);
  EXPECT_TRUE(std::isnan(estimate.standard_error));
  EXPECT_ERROR("at least one value", ClusteredMean({}, {}));
}

TEST(Quantile, IsLinearBetweenRanks) {
  const std::vector<double> values = {1, 2, 4, 8};
  EXPECT_DOUBLE_EQ(Quantile(values, 0), 1);
  EXPECT_DOUBLE_EQ(Quantile(values, 0.5), 3);
  EXPECT_DOUBLE_EQ(Quantile(values, 0.9), 4 + 0.7 * 4);
  EXPECT_DOUBLE_EQ(Quantile(values, 1), 8);
  EXPECT_DOUBLE_EQ(Quantile(std::vector<double>{5}, 0.99), 5);
}

}  // namespace
}  // namespace fptq
