#include "server/metrics/histogram_view.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace hachi::server {
namespace {

using ::testing::ElementsAre;

TEST(HistogramViewTest, CountsAreThoseOfEachBucketAlone) {
  prometheus::Histogram histogram({1, 2, 4});
  for (const double value : {0.5, 1.5, 1.7, 9.0}) histogram.Observe(value);
  const HistogramView view = ViewOf(histogram);
  EXPECT_THAT(view.counts, ElementsAre(1, 2, 0, 1));
  EXPECT_EQ(view.count, 4u);
  EXPECT_DOUBLE_EQ(view.sum, 12.7);
}

TEST(HistogramViewTest, QuantilesLieEvenlyWithinTheirBucket) {
  prometheus::Histogram histogram({1, 2, 4});
  for (int i = 0; i < 10; ++i) histogram.Observe(0.5);
  for (int i = 0; i < 10; ++i) histogram.Observe(3);
  const HistogramView view = ViewOf(histogram);
  EXPECT_DOUBLE_EQ(view.Quantile(0.25), 0.5);
  EXPECT_DOUBLE_EQ(view.Quantile(0.5), 1);
  EXPECT_DOUBLE_EQ(view.Quantile(0.75), 3);
  EXPECT_DOUBLE_EQ(view.Quantile(1), 4);
}

TEST(HistogramViewTest, BeyondTheLastBoundItIsThatBoundAndOfNothingZero) {
  prometheus::Histogram histogram({1, 2});
  EXPECT_EQ(ViewOf(histogram).Quantile(0.5), 0);
  histogram.Observe(100);
  EXPECT_EQ(ViewOf(histogram).Quantile(0.99), 2);
}

}  // namespace
}  // namespace hachi::server
