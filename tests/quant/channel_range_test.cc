#include "engine/quant/channel_range.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "tests/support/status_matchers.h"

namespace hachi {
namespace {

using testing::Each;
using testing::FloatNear;
using testing::Pointwise;

// Channels of which number c reaches from lows[c] to highs[c].
TensorStats StatsOf(const std::vector<float>& lows, const std::vector<float>& highs) {
  std::vector<float> values;
  for (size_t c = 0; c < lows.size(); ++c)
    for (int i = 0; i <= 100; ++i)
      values.push_back(lows[c] + (highs[c] - lows[c]) * static_cast<float>(i) / 100);
  TensorStats stats;
  stats.Observe(values, {static_cast<int64_t>(lows.size()), 101});
  return stats;
}

std::optional<ActivationQuant> Choose(const TensorStats& stats, bool signed_activations = true) {
  const auto whole = ChooseActivationQuant(stats, RangeMethod::kMinMax);
  EXPECT_OK(whole);
  return ChooseChannelQuant(stats, stats.channels(), *whole, signed_activations);
}

TEST(ChannelRangeTest, EachChannelsScaleReachesOverIt) {
  const auto quant = Choose(StatsOf({0, 0, 0, 0}, {255, 25.5, 2.55f, 51}));
  ASSERT_TRUE(quant.has_value());
  EXPECT_EQ(quant->dtype, DType::kU8);
  EXPECT_THAT(quant->params.scales, Pointwise(FloatNear(1e-4f), {1.0f, 0.1f, 0.01f, 0.2f}));
  EXPECT_THAT(quant->params.zero_points, Each(0));
  EXPECT_EQ(quant->params.axis, 1);
}

TEST(ChannelRangeTest, ChannelsThatAreAlikeShareOneScale) {
  EXPECT_FALSE(Choose(StatsOf({0, 0, 0}, {1, 0.9f, 0.95f})).has_value());
}

TEST(ChannelRangeTest, OneZeroPointServesAllChannels) {
  // As hard-swish leaves them: never below -0.375.
  const std::vector<float> highs{30, 1, 0.5f, 4};
  const auto quant = Choose(StatsOf({-0.375f, -0.375f, -0.3f, -0.375f}, highs));
  ASSERT_TRUE(quant.has_value());
  for (size_t c = 0; c < 4; ++c) {
    const float lowest = quant->dtype == DType::kU8 ? 0.0f : -128.0f, highest = lowest + 255;
    const auto zero = static_cast<float>(quant->params.zero_points[c]);
    EXPECT_LE((lowest - zero) * quant->params.scales[c], c == 2 ? -0.299f : -0.374f);
    EXPECT_GE((highest - zero) * quant->params.scales[c], 0.99f * highs[c]);
    EXPECT_EQ(quant->params.zero_points[c], quant->params.zero_points[0]);
  }
}

TEST(ChannelRangeTest, WithoutSignedActivationsItIsU8) {
  const auto quant = Choose(StatsOf({-100, -1, -2, -1}, {100, 1, 2, 1}), /*signed_activations=*/false);
  ASSERT_TRUE(quant.has_value());
  EXPECT_EQ(quant->dtype, DType::kU8);
}

TEST(ChannelRangeTest, ChannelsOfZerosAreNoneToDivideBy) {
  const auto quant = Choose(StatsOf({0, 0, 0, 0}, {100, 1, 0, 1}));
  ASSERT_TRUE(quant.has_value());
  EXPECT_GT(quant->params.scales[2], 0);
}

}  // namespace
}  // namespace hachi
