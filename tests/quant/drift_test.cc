#include "engine/quant/drift.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

namespace hachi {
namespace {

// A thousand normal values.
std::vector<float> Normal(float mean, float deviation, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(mean, deviation);
  std::vector<float> values(1000);
  for (float& value : values) value = normal(random);
  return values;
}

TensorStats StatsOf(const std::vector<float>& values) {
  TensorStats stats;
  stats.Observe(values, {.channels = 1, .inner = static_cast<int64_t>(values.size())});
  return stats;
}

double Between(const std::vector<float>& then, const std::vector<float>& now) {
  return PopulationStability(StatsOf(then).histogram(), StatsOf(now).histogram());
}

TEST(PopulationStabilityTest, SameValuesAreZeroAndOtherOnesOfTheSameKindSmall) {
  EXPECT_EQ(Between(Normal(0, 1, 1), Normal(0, 1, 1)), 0);
  EXPECT_LT(Between(Normal(0, 1, 1), Normal(0, 1, 2)), 0.1);
}

TEST(PopulationStabilityTest, AShiftOfHalfADeviationMattersAndALargerOneMore) {
  const double half = Between(Normal(0, 1, 1), Normal(0.5, 1, 2));
  EXPECT_NEAR(half, 0.25, 0.08);  // of normal distributions: the squared shift
  EXPECT_GT(Between(Normal(0, 1, 1), Normal(2, 1, 2)), 4 * half);
}

TEST(PopulationStabilityTest, AnotherSpreadOfTheSameMeanShows) {
  EXPECT_GT(Between(Normal(0, 1, 1), Normal(0, 3, 2)), 0.25);
  EXPECT_GT(Between(Normal(0, 1, 1), Normal(0, 0.3f, 2)), 0.25);
}

TEST(PopulationStabilityTest, WhatWasOneNumberAndIsAnotherShows) {
  const std::vector<float> ones(100, 1.0f), twos(100, 2.0f), halves(100, 0.5f);
  EXPECT_EQ(Between(ones, ones), 0);
  EXPECT_GT(Between(ones, twos), 1);
  EXPECT_GT(Between(ones, halves), 1);
}

TEST(PopulationStabilityTest, NothingSeenIsNoDrift) {
  EXPECT_EQ(PopulationStability(Histogram(), StatsOf({1}).histogram()), 0);
  EXPECT_EQ(PopulationStability(StatsOf({1}).histogram(), Histogram()), 0);
}

TEST(UseOfRangeTest, ValuesBeyondTheRangeAreClipped) {
  const RangeUse use = UseOfRange(StatsOf({-1, 0, 1, 2, 3, 4, 5, 10}), /*low=*/0, /*high=*/4);
  EXPECT_DOUBLE_EQ(use.clipped, 3.0 / 8);
  EXPECT_DOUBLE_EQ(use.used, 1);
}

TEST(UseOfRangeTest, ARangeThatIsTooWideIsUsedInPart) {
  const RangeUse use = UseOfRange(StatsOf({0.5f, 1, 1.5f}), /*low=*/0, /*high=*/4);
  EXPECT_EQ(use.clipped, 0);
  EXPECT_DOUBLE_EQ(use.used, 0.25);
}

}  // namespace
}  // namespace hachi
