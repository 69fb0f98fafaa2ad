#include "server/batching/run_estimates.h"

#include <gtest/gtest.h>

namespace hachi::server {
namespace {

constexpr absl::Duration kMs = absl::Milliseconds(1);

TEST(RunEstimatesTest, NothingIsKnownBeforeARun) {
  const RunEstimates runs;
  EXPECT_TRUE(runs.empty());
  EXPECT_EQ(runs.At(7), absl::ZeroDuration());
}

TEST(RunEstimatesTest, BetweenKnownSizesIsTheLine) {
  const RunEstimates runs({{2, 4 * kMs}, {4, 6 * kMs}});
  EXPECT_EQ(runs.At(2), 4 * kMs);
  EXPECT_EQ(runs.At(3), 5 * kMs);
}

TEST(RunEstimatesTest, BelowIsAsLongAndBeyondInProportion) {
  const RunEstimates runs({{2, 4 * kMs}, {4, 6 * kMs}});
  EXPECT_EQ(runs.At(1), 4 * kMs);
  EXPECT_EQ(runs.At(8), 12 * kMs);
}

TEST(RunEstimatesTest, FollowsTheRuns) {
  RunEstimates runs({{1, 10 * kMs}});
  runs.Record(1, 20 * kMs);
  EXPECT_EQ(runs.At(1), 12 * kMs);
  for (int i = 0; i < 50; ++i) runs.Record(1, 20 * kMs);
  EXPECT_NEAR(absl::ToDoubleMilliseconds(runs.At(1)), 20, 0.01);
}

TEST(RunEstimatesTest, NeverFallsWithRows) {
  const RunEstimates runs({{1, 5 * kMs}, {2, 3 * kMs}, {4, 8 * kMs}});
  EXPECT_EQ(runs.At(2), 5 * kMs);
  EXPECT_EQ(runs.At(4), 8 * kMs);
}

TEST(RunEstimatesTest, RowsWithinATime) {
  const RunEstimates runs({{1, 2 * kMs}, {8, 9 * kMs}});
  EXPECT_EQ(runs.RowsWithin(kMs, 8), 0);
  EXPECT_EQ(runs.RowsWithin(2 * kMs, 8), 1);
  EXPECT_EQ(runs.RowsWithin(4 * kMs, 8), 3);
  EXPECT_EQ(runs.RowsWithin(absl::Hours(1), 8), 8);
}

}  // namespace
}  // namespace hachi::server
