#include "engine/quant/noise.h"

#include <gtest/gtest.h>

#include <vector>

namespace hachi {
namespace {

// A thousand values spread evenly over [-1, 1].
Histogram Even() {
  std::vector<float> values;
  for (int i = 0; i <= 1000; ++i) values.push_back(static_cast<float>(i - 500) / 500);
  TensorStats stats;
  stats.Observe(values, {.channels = 1, .inner = 1001});
  return stats.histogram();
}

TEST(SignalToNoiseTest, EightBitsOfAnEvenSpreadKeepSixDecibelsABit) {
  EXPECT_NEAR(SignalToNoise(Even(), -1, 1), 48.1, 0.2);
}

TEST(SignalToNoiseTest, AWiderRangeCostsSixDecibelsADoubling) {
  EXPECT_NEAR(SignalToNoise(Even(), -2, 2), 48.1 - 6.02, 0.2);
}

TEST(SignalToNoiseTest, ClippingIsNoise) { EXPECT_LT(SignalToNoise(Even(), -0.5f, 0.5f), 12); }

TEST(SignalToNoiseTest, NothingSeenHasNoNoise) { EXPECT_EQ(SignalToNoise(Histogram(), 0, 1), 200); }

}  // namespace
}  // namespace hachi
